//! balena's update-lock files follow the leases: held while one lives, gone when none does.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::machine::Lifecycle;

/// What is known of the lock files.
#[derive(Clone, Debug, Default)]
pub struct LockFiles {
    /// Who they were last held for; empty: released. `None`: not settled in this run.
    settled: Option<Vec<String>>,
    asked: Option<Vec<String>>,
    problem: Option<String>,
}

impl LockFiles {
    /// Why they could not be held.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Foreign lock files came or went, or the Supervisor went on: what could not be held may be to be had now.
    pub(super) fn try_again(&mut self) {
        if self.problem.is_some() {
            self.settled = None;
        }
    }

    pub(super) fn settle(&mut self, problem: Option<&String>) {
        self.settled = self.asked.take();
        self.problem = problem.cloned();
    }
}

impl Lifecycle {
    /// Asks for what the leases need, one change at a time. A failure is tried again when the leases, the foreign
    /// lock files or the Supervisor's view change.
    pub(super) fn follow_leases(&mut self, cx: &mut Context) {
        if self.ports.lock_files_busy() {
            return;
        }
        let mut wanted: Vec<_> = self.book.leases.iter().map(|lease| lease.owner.clone()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if self.lock_files.settled.as_ref() == Some(&wanted) {
            return;
        }
        let op = self.ports.begin_lock_files();
        self.lock_files.asked = Some(wanted.clone());
        if wanted.is_empty() {
            cx.emit(Effect::ReleaseLockFiles { op });
        } else {
            cx.emit(Effect::HoldLockFiles { op, holders: wanted });
        }
    }
}
