//! The record of one update: while it is under way, and of how it ended.

use crate::lifecycle::facts::SupervisorError;
use crate::lifecycle::time::{Millis, Moment, Reboot, Stamp};
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::predecessors::Predecessors;
use crate::lifecycle::update::target::{AppTarget, Release};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{self as wire, BlockerKind, RollbackState};
use serde::{Deserialize, Serialize};

/// An update under way. It travels from state to state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) release: Release,
    /// The rollout it belongs to.
    pub(crate) rollout: Option<String>,
    /// Which attempt this is; 0 until the first one begins.
    pub(crate) attempt: u32,
    /// Since when it is in its phase.
    pub(crate) since: Moment,
    /// Download progress, percent.
    #[serde(skip)]
    pub(crate) progress: Unsaved<Option<u8>>,
    /// The next attempt is not to begin before (boot-time clock).
    pub(crate) not_before: Option<Millis>,
    /// The next attempt may begin earlier than that once Cloudly has been heard in this run, and not by force.
    #[serde(default)]
    pub(crate) until_heard: bool,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<UpdateError>,
    /// What ran when it was handed over.
    #[serde(default)]
    pub(crate) predecessors: Predecessors,
    /// Why it is not going on.
    blocked: Vec<Blocker>,
    /// Whether it could be undone; `None`: not looked at yet.
    #[serde(default)]
    pub(crate) rollback: Option<Rollback>,
}

/// One reason why an update is not going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blocker {
    pub(crate) kind: BlockerKind,
    /// Who, where somebody holds it.
    pub(crate) holder: Option<String>,
    pub(crate) reason: Option<String>,
    /// Device's clock.
    pub(crate) since: Timestamp,
    /// Until when at the latest, if known; device's clock, or Cloudly's for a window.
    pub(crate) expires_at: Option<Timestamp>,
}

/// Why an update failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpdateError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// What was seen: container states, lines of the Supervisor's log.
    #[serde(default)]
    pub(crate) evidence: Vec<String>,
    /// Device's clock.
    pub(crate) at: Timestamp,
}

/// Whether an update could be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rollback {
    /// By going back to this commit.
    Possible(String),
    /// Why not.
    Impossible(String),
}

impl Rollback {
    /// Why not.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Possible(_) => None,
            Self::Impossible(reason) => Some(reason),
        }
    }
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) commit: String,
    pub(crate) rollout: Option<String>,
    /// A terminal state.
    pub(crate) state: UpdateState,
    /// The attempt it ended in.
    pub(crate) attempt: u32,
    /// Why, if it did not succeed.
    pub(crate) error: Option<UpdateError>,
    /// Device's clock.
    pub(crate) at: Timestamp,
}

impl Update {
    pub(crate) fn new(target: &AppTarget, now: Moment) -> Box<Self> {
        Box::new(Self {
            release: target.release.clone(),
            rollout: target.rollout.clone(),
            attempt: 0,
            since: now,
            progress: Unsaved(None),
            not_before: None,
            until_heard: false,
            last_error: None,
            predecessors: Predecessors::default(),
            blocked: Vec::new(),
            rollback: None,
        })
    }

    pub(crate) fn commit(&self) -> &str {
        &self.release.commit
    }

    pub(crate) fn blocked(&self) -> &[Blocker] {
        &self.blocked
    }

    /// Phases begin again after a reboot; pauses keep what was left of them.
    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        self.since.boot = reboot.now.boot;
        self.not_before = self.not_before.map(|until| reboot.carry(until));
    }

    /// Takes over the reasons to wait that hold now, and says whether they are other ones; the same ones stay as they were, so that nothing is written to
    /// disk for them.
    pub(crate) fn set_blocked(&mut self, blocked: Vec<Blocker>) -> bool {
        let same =
            |a: &Blocker, b: &Blocker| a.kind == b.kind && a.holder == b.holder && a.reason == b.reason;
        let unchanged = self.blocked.len() == blocked.len()
            && self
                .blocked
                .iter()
                .zip(&blocked)
                .all(|(before, after)| same(before, after));
        if !unchanged {
            self.blocked = blocked;
        }
        !unchanged
    }

    /// The same update in its next phase.
    pub(crate) fn next_phase(&self, now: Moment) -> Box<Self> {
        Box::new(Self {
            since: now,
            progress: Unsaved(None),
            blocked: Vec::new(),
            ..self.clone()
        })
    }

    pub(crate) fn finished(&self, state: UpdateState, error: Option<UpdateError>, at: Timestamp) -> Finished {
        Finished {
            commit: self.release.commit.clone(),
            rollout: self.rollout.clone(),
            state,
            attempt: self.attempt,
            error,
            at,
        }
    }
}

impl UpdateError {
    pub(crate) fn new(
        code: ErrorCode,
        message: impl Into<String>,
        evidence: Vec<String>,
        now: Stamp,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            evidence,
            at: now.wall,
        }
    }
}

impl UpdateError {
    /// What the Supervisor calls applied is not what the release names.
    pub(crate) fn wrong_image(seen: Vec<String>, now: Stamp) -> Self {
        let message = "the Supervisor took another image for the release's and did not fetch it: give each image a tag \
                       that no other image uses";
        Self::new(ErrorCode::ImageNotReplaced, message, seen, now)
    }
}

impl Blocker {
    /// A reason to wait that begins now and has no known end.
    pub(crate) fn new(kind: BlockerKind, since: Timestamp) -> Self {
        Self {
            kind,
            holder: None,
            reason: None,
            since,
            expires_at: None,
        }
    }

    /// The Supervisor does not do what it is asked.
    pub(crate) fn supervisor_unavailable(error: &SupervisorError, now: Stamp) -> Self {
        Self::new(BlockerKind::SupervisorUnavailable, now.wall).because(error.message.clone())
    }

    pub(crate) fn held_by(mut self, holder: Option<String>) -> Self {
        self.holder = holder;
        self
    }

    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(crate) fn until(mut self, at: Option<Timestamp>) -> Self {
        self.expires_at = at;
        self
    }

    /// As part of a sentence.
    pub(crate) fn in_words(&self) -> String {
        let kind = self.kind.as_str();
        match (&self.holder, &self.reason) {
            (Some(holder), Some(reason)) => format!("{kind}, {holder}: {reason}"),
            (Some(holder), None) => format!("{kind}, {holder}"),
            (None, Some(reason)) => format!("{kind}: {reason}"),
            (None, None) => kind.to_owned(),
        }
    }

    /// The same reason keeps its beginning, so an operator sees for how long it has held. It is the same when kind and
    /// holder are; where only one of the two names a holder (a Supervisor's 423 does not), the kind alone decides.
    pub(crate) fn continuing(mut self, before: &[Self]) -> Self {
        let same_kind = || before.iter().filter(|earlier| earlier.kind == self.kind);
        let earlier = same_kind()
            .find(|earlier| earlier.holder == self.holder)
            .or_else(|| same_kind().find(|earlier| earlier.holder.is_none() || self.holder.is_none()));
        if let Some(since) = earlier.map(|earlier| earlier.since) {
            self.since = since;
        }
        self
    }
}

impl From<&Blocker> for wire::Blocker {
    fn from(blocker: &Blocker) -> Self {
        Self {
            kind: blocker.kind,
            holder: blocker.holder.clone(),
            reason: blocker.reason.clone(),
            since: blocker.since,
            expires_at: blocker.expires_at,
        }
    }
}

impl From<&UpdateError> for wire::UpdateError {
    fn from(error: &UpdateError) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            evidence: error.evidence.clone(),
            at: error.at,
        }
    }
}

impl From<&Rollback> for wire::Rollback {
    fn from(rollback: &Rollback) -> Self {
        match rollback {
            Rollback::Possible(target) => Self {
                state: RollbackState::Possible,
                target: Some(target.clone()),
                reason: None,
            },
            Rollback::Impossible(reason) => Self {
                state: RollbackState::Impossible,
                target: None,
                reason: Some(reason.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
