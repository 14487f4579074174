//! Waiting: ready, but held back; `blocked` always says by what and since when.

use super::State;
use super::staging::proceed;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy::{self, Gate};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::Update;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// An update that is held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The update, with what blocks it.
    pub update: Box<Update>,
}

impl Waiting {
    pub(super) fn new(update: &Update, gate: Gate, cx: &Context) -> Self {
        let mut update = update.next_phase(cx.now.into());
        update.blocked = gate.blocked;
        Self { update }
    }

    /// Arms the next look; what blocks is found out again when the machine has been resumed.
    pub(super) fn enter(&mut self, l: &mut Lifecycle, cx: &Context) {
        if let Some(at) = policy::gate(l, &self.update, cx.now).recheck {
            l.timers.arm(Timer::Recheck, at);
        }
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::Elapsed(Timer::Recheck) => {
                l.timers.disarm(Timer::Recheck);
                self.look_again(l, cx)
            }
            Event::ConsentChanged | Event::Entered | Event::HostObserved(_) | Event::StateWritten { .. } => {
                self.look_again(l, cx)
            }
            _ => Outcome::Super,
        }
    }

    fn look_again(&mut self, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        let gate = policy::gate(l, &self.update, cx.now);
        if gate.blocked.is_empty() {
            return proceed(&self.update, l, cx);
        }
        if let Some(at) = gate.recheck {
            l.timers.arm(Timer::Recheck, at);
        }
        let before: Vec<_> = self.update.blocked.iter().map(|blocker| blocker.kind).collect();
        let changed = !before.iter().eq(gate.blocked.iter().map(|blocker| &blocker.kind));
        self.update.set_blocked(gate.blocked);
        if changed {
            l.beats.urge();
        }
        Outcome::Handled
    }
}
