//! Waiting: ready, but held back; `blocked` always says by what and since when.

use super::State;
use super::staging::begin_or_wait;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::gate::gate;
use crate::lifecycle::update::record::{Blocker, Update};
use crate::lifecycle::update::rollback::assess;
use serde::{Deserialize, Serialize};
use statig::Outcome;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The update, with what blocks it.
    pub(crate) update: Box<Update>,
}

impl Waiting {
    pub(super) fn new(update: &Update, blocked: Vec<Blocker>, cx: &Context) -> Self {
        let mut update = update.next_phase(cx.now.into());
        update.set_blocked(blocked);
        Self { update }
    }

    /// Arms the next look; what blocks is found out again when the machine has been resumed.
    pub(super) fn enter(&mut self, l: &mut Shared, cx: &Context) {
        if let Some(at) = gate(l, &self.update, cx.now).recheck {
            l.timers.arm(Timer::Recheck, at);
        }
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Event(Event::Elapsed(Timer::Recheck)) => {
                l.timers.disarm(Timer::Recheck);
                self.look_again(l, cx)
            }
            Input::Signal(Signal::GateChanged | Signal::Entered)
            | Input::Event(Event::HostObserved(_) | Event::StateWritten { .. }) => self.look_again(l, cx),
            _ => Outcome::Super,
        }
    }

    fn look_again(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        if l.durable.consent.is_due_to_be_kept(cx.now.boot) {
            l.durable.consent.keep(cx.now.boot);
        }
        if self
            .update
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.problem().is_some())
        {
            // Cloudly may have sent the release that runs.
            self.update.rollback = Some(assess(l, &self.update));
        }
        let gate = gate(l, &self.update, cx.now);
        if gate.blocked.is_empty() {
            return begin_or_wait(&self.update, l, cx);
        }
        if let Some(at) = gate.recheck {
            l.timers.arm(Timer::Recheck, at);
        }
        let kinds = |blocked: &[Blocker]| blocked.iter().map(|blocker| blocker.kind).collect::<Vec<_>>();
        if kinds(self.update.blocked()) != kinds(&gate.blocked) {
            l.heartbeats.urge();
        }
        self.update.set_blocked(gate.blocked);
        Outcome::Handled
    }
}
