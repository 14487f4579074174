//! How far the agent has come with adding its guard to the target.

use crate::lifecycle::effect::OpId;
use crate::lifecycle::event::SupervisorAnswer;
use crate::lifecycle::facts::{Inspection, SupervisorError};
use crate::lifecycle::time::Millis;
use std::time::Duration;

/// The time from one try to the next; doubles with each that changed nothing.
const PAUSE: Duration = Duration::from_secs(30);
/// Doublings at most: about half an hour.
const DOUBLINGS: u32 = 6;
/// How long the guard may be missing before something is wrong: it is added, its container starts, it takes over the
/// proven release, and looks at Supervisor and host find all that.
const GRACE: Duration = Duration::from_secs(120);

/// Not in the checkpoint: a new process looks again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arming {
    pub(super) phase: Phase,
    not_before: Millis,
    tries: u32,
    /// Why the last try failed.
    pub(super) problem: Option<String>,
    /// Since when it is missing, or is added after that had to wait.
    missing_since: Option<Millis>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Resting,
    Looking(OpId),
    Looked(Box<Inspection>),
    Posting(OpId),
}

impl Arming {
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The Supervisor has answered, or the call did not leave.
    pub(crate) fn settle(&mut self, op: OpId, answer: &Result<SupervisorAnswer, SupervisorError>) {
        match (&self.phase, answer) {
            (Phase::Looking(mine), Ok(SupervisorAnswer::Inspected(inspection))) if *mine == op => {
                self.phase = Phase::Looked(inspection.clone());
            }
            (Phase::Looking(mine) | Phase::Posting(mine), answer) if *mine == op => {
                self.phase = Phase::Resting;
                self.problem = answer.as_ref().err().map(|error| error.message.clone());
            }
            _ => {}
        }
    }

    /// Whether the guard was found missing.
    pub(super) fn note(&mut self, missing: bool, now: Millis) {
        self.missing_since = missing.then(|| self.missing_since.unwrap_or(now));
    }

    /// When a guard that is missing should be in place.
    pub(crate) fn expected_by(&self) -> Option<Millis> {
        Some(self.missing_since? + GRACE)
    }

    pub(super) fn may_try(&self, now: Millis) -> bool {
        now >= self.not_before
    }

    /// The guard is in place.
    pub(super) fn done(&mut self) {
        self.tries = 0;
        self.problem = None;
    }

    /// A try begins; the next one comes no sooner than after a pause.
    pub(super) fn begin(&mut self, now: Millis) {
        if self.tries == 0 {
            self.missing_since = Some(now);
        }
        self.not_before = now + PAUSE * 2u32.pow(self.tries.min(DOUBLINGS));
        self.tries = self.tries.saturating_add(1);
    }
}
