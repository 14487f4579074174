//! The record of one update, and of how it ended.

use crate::lifecycle::book::Mark;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::unsaved::Unsaved;
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::{DesiredApp, Release};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, UpdateError};
use serde::{Deserialize, Serialize};

/// An update under way. It travels from state to state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Where it goes.
    pub release: Release,
    /// The rollout it belongs to.
    pub rollout: Option<String>,
    /// Which attempt this is; 0 until the first one begins.
    pub attempt: u32,
    /// Since when it is in its phase.
    pub since: Mark,
    /// Download progress, percent.
    pub progress: Unsaved<Option<u8>>,
    /// The next attempt is not to begin before (boot-time clock).
    pub not_before: Option<Millis>,
    /// Why the last attempt failed.
    pub last_error: Option<UpdateError>,
    /// Why it is not going on.
    pub blocked: Vec<Blocker>,
}

impl Update {
    /// A new update towards the desired release.
    pub fn new(desired: &DesiredApp, now: Mark) -> Box<Self> {
        Box::new(Self {
            release: desired.release.clone(),
            rollout: desired.rollout_id.clone(),
            attempt: 0,
            since: now,
            progress: Unsaved(None),
            not_before: None,
            last_error: None,
            blocked: Vec::new(),
        })
    }

    /// The commit it goes to.
    pub fn commit(&self) -> &str {
        &self.release.commit
    }

    /// The device has rebooted: its boot-time clock started anew, so phases begin again and pauses keep their rest.
    pub(super) fn carry_over(&mut self, saved: Millis, now: Stamp) {
        self.since.boot = now.boot;
        self.not_before = self.not_before.map(|until| now.boot + until.since(saved));
    }

    /// Takes over reasons to wait; unchanged ones keep what they were, so that nothing is written for them.
    pub(super) fn set_blocked(&mut self, blocked: Vec<Blocker>) {
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
    }

    /// The same update in its next phase.
    pub(super) fn next_phase(&self, now: Mark) -> Box<Self> {
        Box::new(Self {
            since: now,
            progress: Unsaved(None),
            blocked: Vec::new(),
            ..self.clone()
        })
    }

    /// How it ended.
    pub(super) fn finished(&self, state: UpdateState, error: Option<UpdateError>, at: Timestamp) -> Finished {
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

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Where it went.
    pub commit: String,
    /// The rollout it belonged to.
    pub rollout: Option<String>,
    /// A terminal state.
    pub state: UpdateState,
    /// The attempt it ended in.
    pub attempt: u32,
    /// Why, if it did not succeed.
    pub error: Option<UpdateError>,
    /// Device's clock.
    pub at: Timestamp,
}
