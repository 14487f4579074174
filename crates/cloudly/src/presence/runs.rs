//! The agent's runs that use one node's identity. Each start of an agent is a new run, so runs follow each other; two that
//! go on beside each other are two agents: the node's state was copied. Pure: the time is an argument.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use crate::clock::millis;
use baseos_interfaces::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs that are remembered; of more the one that was silent for longest is forgotten.
const KEPT: usize = 8;
/// How often two runs must be heard beside each other. Of a run that has ended two requests may be left: one that had
/// no answer in time, and the one that was under way.
const BEATS: usize = 3;
/// Two runs are only taken for two agents when both were heard within so many intervals.
const INTERVALS: i64 = 3;

/// What a heartbeat's run and sequence number say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    Next,
    /// Heartbeats are missing, or the run is another one: the full status is needed.
    Gap,
    /// The run has a successor, or a later heartbeat of it came before: its status is older than the stored one.
    Stale,
    /// The run goes on beside another one.
    CloneSuspected,
}

/// The runs that were heard, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Runs {
    runs: Vec<Run>,
    /// Whose status counts.
    current: String,
    /// A run with a successor that was heard last: it is the current one again if it is heard next, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    returned: Option<String>,
}

/// Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    id: String,
    /// The highest that came.
    sequence: u64,
    first_at: i64,
    /// The last times it was heard that are half an interval or more apart, [`BEATS`] at most: requests that the network
    /// held come together.
    heard_at: Vec<i64>,
}

impl Runs {
    /// Takes in a heartbeat of a node that sends one each `interval_seconds`.
    pub(crate) fn hear(
        &mut self,
        run_id: &str,
        sequence: u64,
        interval_seconds: u32,
        now: Timestamp,
    ) -> Sequence {
        let (now, interval) = (millis(now), i64::from(interval_seconds) * 1000);
        let Some(at) = self.runs.iter().position(|run| run.id == run_id) else {
            self.begin(run_id, sequence, now);
            return Sequence::Gap;
        };
        let Some(run) = self.runs.get_mut(at) else {
            return Sequence::Stale;
        };
        if sequence < run.sequence {
            return Sequence::Stale;
        }
        let gap = sequence > run.sequence.saturating_add(1);
        run.sequence = sequence;
        run.heard(interval, now);
        if self.is_beside_another(at, interval, now) {
            return Sequence::CloneSuspected;
        }
        if self.current == run_id {
            self.returned = None;
            return if gap { Sequence::Gap } else { Sequence::Next };
        }
        // One request may be left of a run that has ended; a second one in a row is not.
        if self.returned.take().as_deref() == Some(run_id) {
            run_id.clone_into(&mut self.current);
            return Sequence::Gap;
        }
        self.returned = Some(run_id.to_owned());
        Sequence::Stale
    }

    /// Forgets what speaks for a second agent; what goes on speaks again.
    pub(crate) fn forget(&mut self) {
        self.runs.retain(|run| run.id == self.current);
        for run in &mut self.runs {
            run.first_at = run.last_at();
            run.heard_at = vec![run.first_at];
        }
        self.returned = None;
    }

    fn begin(&mut self, id: &str, sequence: u64, now: i64) {
        if self.runs.len() >= KEPT
            && let Some(silent) = (0..self.runs.len()).min_by_key(|at| self.runs.get(*at).map(Run::last_at))
        {
            self.runs.remove(silent);
        }
        self.runs.push(Run {
            id: id.to_owned(),
            sequence,
            first_at: now,
            heard_at: vec![now],
        });
        id.clone_into(&mut self.current);
        self.returned = None;
    }

    /// Whether another run goes on beside this one.
    fn is_beside_another(&self, at: usize, interval: i64, now: i64) -> bool {
        let Some(run) = self.runs.get(at) else {
            return false;
        };
        self.runs.iter().enumerate().any(|(other_at, other)| {
            other_at != at && now - other.last_at() <= INTERVALS * interval && run.is_beside(other)
        })
    }
}

impl Run {
    fn last_at(&self) -> i64 {
        self.heard_at.last().copied().unwrap_or(self.first_at)
    }

    fn heard(&mut self, interval: i64, now: i64) {
        if now - self.last_at() < interval / 2 {
            return;
        }
        if self.heard_at.len() >= BEATS {
            self.heard_at.remove(0);
        }
        self.heard_at.push(now);
    }

    /// Both were heard [`BEATS`] times since both began, and not one after the other.
    fn is_beside(&self, other: &Self) -> bool {
        let since = |run: &Self| {
            run.heard_at
                .first()
                .copied()
                .filter(|_| run.heard_at.len() >= BEATS)
        };
        let (Some(mine), Some(others)) = (since(self), since(other)) else {
            return false;
        };
        mine >= other.first_at
            && others >= self.first_at
            && mine <= other.last_at()
            && others <= self.last_at()
    }
}
