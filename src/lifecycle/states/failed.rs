//! Failed: given up; reported with reason and evidence. Leaves when something else is desired, or on an operator's
//! order to try again.

use super::State;
use super::idle::Idle;
use super::staging::Staging;
use super::updating::watch_superseded;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::update::decide::{Decision, decide};
use crate::lifecycle::update::record::{Finished, Update, UpdateError};
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// How the update ended.
    pub(crate) last: Finished,
}

impl Failed {
    /// Gives an update up and remembers that the release is bad here.
    pub(super) fn give_up(l: &mut Shared, update: &Update, error: UpdateError, cx: &Context) -> Self {
        let revision = l.durable.revision();
        l.durable.memory.declare_bad(update.commit(), &error, revision);
        let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
        l.record_outcome(&last, cx.now);
        Self { last }
    }

    /// What is desired was found bad earlier.
    pub(super) fn found_bad(l: &Shared, error: UpdateError, cx: &Context) -> State {
        match l.durable.desired_app() {
            Some(app) => {
                let update = Update::new(app, cx.now.into());
                let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
                State::Failed(Self { last })
            }
            None => State::Idle(Idle::default()),
        }
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Signal(Signal::DesiredChanged | Signal::Entered) => self.look(l, cx),
            Input::Event(event @ Event::SupervisorObserved(_)) => match self.look(l, cx) {
                Outcome::Handled => watch_superseded(l, event, cx),
                outcome => outcome,
            },
            Input::Event(event) => watch_superseded(l, event, cx),
            Input::Signal(_) => Outcome::Super,
        }
    }

    fn look(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Some(app) = l.durable.desired_app() else {
            return Outcome::Transition(Idle::after(self.last.clone()));
        };
        let other = app.release.commit != self.last.commit;
        match decide(l, cx) {
            Decision::Update(update) => Outcome::Transition(State::Staging(Staging::new(update))),
            Decision::Running if other => Outcome::Transition(State::Idle(Idle::default())),
            Decision::KnownBad(error) if other => Outcome::Transition(Self::found_bad(l, error, cx)),
            Decision::Running | Decision::KnownBad(_) | Decision::Nothing => Outcome::Handled,
        }
    }
}
