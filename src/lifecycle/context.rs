//! What a handler sees of one step, and what it asks for.

use crate::lifecycle::effect::{Effect, LocalAnswer, RequestId};
use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::signal::Signal;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::transition::Transition;
use baseos_interfaces::local::Notice;
use baseos_interfaces::problem::Problem;
use std::collections::VecDeque;

/// One step: an event comes in with the time; effects, replies and signals are collected.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) now: Stamp,
    pub(crate) effects: Vec<Effect>,
    pub(crate) signals: VecDeque<Signal>,
    pub(crate) replies: Vec<(RequestId, Query)>,
    pub(crate) heartbeat: Option<HeartbeatKind>,
    pub(crate) transitions: Vec<Transition>,
    /// The state or superstate that was asked last.
    pub(crate) asked: &'static str,
    /// The event or signal that is being handled.
    pub(crate) cause: &'static str,
    /// No state handled the event.
    pub(crate) ignored: bool,
    /// Whether the state at the start of the step grants new locks.
    pub(crate) grants: Grants,
}

/// What to answer on the local API. Answers are written when the step is over, so they show the state it ended in.
#[derive(Debug)]
pub(crate) enum Query {
    Handshake,
    Status,
    Update,
    Locks,
    Doctor,
    Joining,
    Ready(LocalAnswer),
}

/// What kind of heartbeat to write when the step is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatKind {
    Regular,
    Goodbye,
}

impl Context {
    pub(crate) fn new(now: Stamp, cause: &'static str, grants: Grants) -> Self {
        Self {
            now,
            effects: Vec::new(),
            signals: VecDeque::new(),
            replies: Vec::new(),
            heartbeat: None,
            transitions: Vec::new(),
            asked: "",
            cause,
            ignored: false,
            grants,
        }
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells the clients of the local API's event stream.
    pub(crate) fn publish(&mut self, notice: Notice) {
        self.emit(Effect::Publish {
            notice: Box::new(notice),
        });
    }

    /// Raises a signal that is handled within this step, after the present event or signal.
    pub(crate) fn raise(&mut self, signal: Signal) {
        self.signals.push_back(signal);
    }

    pub(crate) fn reply(&mut self, request: RequestId, query: Query) {
        self.replies.push((request, query));
    }

    pub(crate) fn refuse(&mut self, request: RequestId, problem: Problem) {
        self.reply(request, Query::Ready(LocalAnswer::Problem(problem)));
    }

    /// Asks for a heartbeat at the end of this step; a goodbye is never weakened.
    pub(crate) fn send_heartbeat(&mut self, kind: HeartbeatKind) {
        if self.heartbeat != Some(HeartbeatKind::Goodbye) {
            self.heartbeat = Some(kind);
        }
    }

    /// A second number from the step's one draw, for handlers that need more than one.
    pub(crate) fn entropy(&self, salt: u64) -> u64 {
        let mut x = self.now.entropy ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}
