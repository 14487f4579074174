//! Operations under way: at most one per port, and a queue for the Supervisor.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{Effect, OpId, SupervisorCall};
use std::collections::VecDeque;

/// Calls that may wait for the Supervisor; more is a bug, so the oldest is dropped and its caller times out.
const QUEUE: usize = 16;

/// The operations under way. Not in the checkpoint: a restart ends them all, and the state asks again.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    epoch: u64,
    last: u64,
    cloudly: Option<OpId>,
    supervisor: Option<OpId>,
    waiting: VecDeque<(OpId, SupervisorCall)>,
    lock_files: Option<OpId>,
}

impl InFlight {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// A new operation id.
    pub(crate) fn op(&mut self) -> OpId {
        self.last += 1;
        OpId((self.epoch << 32) | (self.last & 0xffff_ffff))
    }

    /// Whether a call to Cloudly is under way.
    pub(crate) fn cloudly_busy(&self) -> bool {
        self.cloudly.is_some()
    }

    /// Whether the lock files are being changed.
    pub(crate) fn lock_files_busy(&self) -> bool {
        self.lock_files.is_some()
    }

    pub(crate) fn begin_cloudly(&mut self) -> OpId {
        let op = self.op();
        self.cloudly = Some(op);
        op
    }

    pub(crate) fn begin_lock_files(&mut self) -> OpId {
        let op = self.op();
        self.lock_files = Some(op);
        op
    }

    /// Asks the Supervisor for something, now or when it is free.
    pub(crate) fn ask_supervisor(&mut self, call: SupervisorCall, cx: &mut Context) -> OpId {
        let op = self.op();
        if self.supervisor.is_none() {
            self.supervisor = Some(op);
            cx.emit(Effect::Supervisor { op, call });
        } else {
            if self.waiting.len() >= QUEUE {
                self.waiting.pop_front();
            }
            self.waiting.push_back((op, call));
        }
        op
    }

    /// Whether so many calls wait for the Supervisor that no command should be added: the rest of the queue is for the
    /// update's own calls, and none of them may be dropped.
    pub(crate) fn supervisor_swamped(&self) -> bool {
        self.waiting.len() >= QUEUE / 2
    }

    /// Whether this call has not left yet.
    pub(crate) fn is_waiting(&self, op: OpId) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == op)
    }

    /// Forgets a call that has not left yet; one that has left is answered and then ignored.
    pub(crate) fn forget(&mut self, op: OpId) {
        self.waiting.retain(|(waiting, _)| *waiting != op);
    }

    /// A result has come: frees its port and lets the next call leave. False: nobody waits for it.
    pub(crate) fn settle(&mut self, op: OpId, cx: &mut Context) -> bool {
        if self.cloudly == Some(op) {
            self.cloudly = None;
        } else if self.lock_files == Some(op) {
            self.lock_files = None;
        } else if self.supervisor == Some(op) {
            self.supervisor = None;
            if let Some((op, call)) = self.waiting.pop_front() {
                self.supervisor = Some(op);
                cx.emit(Effect::Supervisor { op, call });
            }
        } else {
            return false;
        }
        true
    }
}
