//! What a handler sees of one step, and what it asks for.

use crate::lifecycle::effect::{Effect, LocalAnswer, RequestId};
use crate::lifecycle::event::Event;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::local::Notice;
use baseos_interfaces::problem::Problem;
use baseos_interfaces::states::AgentState;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// One step: an event comes in with the time; effects, replies and raised events are collected.
#[derive(Debug)]
pub struct Context {
    /// What the clocks said.
    pub now: Stamp,
    pub(super) effects: Vec<Effect>,
    pub(super) raised: VecDeque<Event>,
    pub(super) replies: Vec<(RequestId, Query)>,
    pub(super) beat: Option<Beat>,
    pub(super) transitions: Vec<Transition>,
    pub(super) asked: &'static str,
    pub(super) cause: &'static str,
    pub(super) ignored: bool,
    /// Whether the state at the start of the step lets nobody take a new lock.
    pub(super) draining: bool,
}

/// A move from one state to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// From this state.
    pub from: AgentState,
    /// To this state.
    pub to: AgentState,
    /// The event that caused it.
    pub cause: String,
    /// The state or superstate that decided.
    pub by: String,
    /// The attempt the update is in, after the move.
    pub attempt: Option<u32>,
    /// The commit the update goes to, after the move.
    pub target: Option<String>,
}

/// What to answer on the local API. Answers are written when the step is over, so they show the state it ended in.
#[derive(Debug)]
pub(super) enum Query {
    Handshake,
    Status,
    Update,
    Locks,
    Doctor,
    Ready(LocalAnswer),
}

/// What kind of heartbeat to write when the step is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Usual,
    Goodbye,
}

impl Context {
    pub(super) fn new(now: Stamp, cause: &'static str) -> Self {
        Self {
            now,
            effects: Vec::new(),
            raised: VecDeque::new(),
            replies: Vec::new(),
            beat: None,
            transitions: Vec::new(),
            asked: "",
            cause,
            ignored: false,
            draining: false,
        }
    }

    /// Asks for an effect.
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells whoever listens on the local API.
    pub(super) fn publish(&mut self, notice: Notice) {
        self.emit(Effect::Publish {
            notice: Box::new(notice),
        });
    }

    /// Raises an event that is handled within this step, after the present one.
    pub(super) fn raise(&mut self, event: Event) {
        self.raised.push_back(event);
    }

    pub(super) fn reply(&mut self, request: RequestId, query: Query) {
        self.replies.push((request, query));
    }

    pub(super) fn refuse(&mut self, request: RequestId, problem: Problem) {
        self.replies
            .push((request, Query::Ready(LocalAnswer::Problem(problem))));
    }

    /// Asks for a heartbeat at the end of this step; a goodbye is never weakened.
    pub(super) fn beat(&mut self, beat: Beat) {
        if self.beat != Some(Beat::Goodbye) {
            self.beat = Some(beat);
        }
    }

    /// A second number from the step's one draw, for handlers that need more than one.
    pub(super) fn entropy(&self, salt: u64) -> u64 {
        let mut x = self.now.entropy ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}
