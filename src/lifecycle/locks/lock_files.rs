//! balena's update-lock files follow the leases: held while one lives, gone when none does.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::in_flight::InFlight;
use crate::lifecycle::locks::leases::Leases;

/// What is known of the lock files.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockFiles {
    /// Who they were last held for; empty: released. `None`: not settled in this run.
    settled: Option<Vec<String>>,
    asked: Option<Vec<String>>,
    problem: Option<String>,
}

impl LockFiles {
    /// Why they could not be held.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Foreign lock files came or went, or the Supervisor went on: what could not be held may be to be had now.
    pub(crate) fn try_again(&mut self) {
        if self.problem.is_some() {
            self.settled = None;
        }
    }

    /// Files that were made are gone while leases live, by a forced update, say: they are made again.
    pub(crate) fn were_removed(&mut self) {
        if self.settled.as_ref().is_some_and(|holders| !holders.is_empty()) {
            self.settled = None;
        }
    }

    /// Whether they were last made, or could not be made, for these holders.
    pub(crate) fn is_settled_for(&self, holders: &[String]) -> bool {
        self.settled.as_deref() == Some(holders)
    }

    pub(crate) fn settle(&mut self, problem: Option<&String>) {
        self.settled = self.asked.take();
        self.problem = problem.cloned();
    }

    /// Asks for what the leases need, one change at a time. A failure is tried again when the leases, the lock directory
    /// or the Supervisor's view change.
    pub(crate) fn follow(&mut self, leases: &Leases, in_flight: &mut InFlight, cx: &mut Context) {
        if in_flight.lock_files_busy() {
            return;
        }
        let holders = leases.owners();
        if self.settled.as_ref() == Some(&holders) {
            return;
        }
        let op = in_flight.begin_lock_files();
        self.asked = Some(holders.clone());
        if holders.is_empty() {
            cx.emit(Effect::ReleaseLockFiles { op });
        } else {
            cx.emit(Effect::HoldLockFiles { op, holders });
        }
    }
}
