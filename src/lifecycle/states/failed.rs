//! Failed: given up; reported with reason and evidence. Leaves when something else is desired, or on an operator's
//! order to try again.

use super::State;
use super::applying::Applying;
use super::idle::Idle;
use super::rollback_needed::RollbackNeeded;
use super::staging::Staging;
use super::updating::watch_superseded;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::SupervisorView;
use crate::lifecycle::progress::fact::LogFact;
use crate::lifecycle::progress::stall::{image_not_found, is_begun};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::update::decide::{Decision, decide};
use crate::lifecycle::update::record::{Finished, Update, UpdateError};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// How the update ended.
    pub(crate) last: Finished,
    /// An image of the release does not exist (yet): the release is not bad, the Supervisor has it as its target and goes
    /// on trying, and so does the agent when it sees that it gets on.
    #[serde(default)]
    unfinished: Option<Box<Update>>,
}

impl Failed {
    /// Gives an update up and remembers that the release is bad here.
    pub(super) fn give_up(l: &mut Shared, update: &Update, error: UpdateError, cx: &Context) -> Self {
        let revision = l.durable.revision();
        l.durable.memory.declare_bad(update.commit(), &error, revision);
        let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
        l.record_outcome(&last, cx.now);
        Self {
            last,
            unfinished: None,
        }
    }

    /// The registry has no such image: failed at once, and not remembered as bad.
    pub(super) fn without_image(l: &mut Shared, update: &Update, error: UpdateError, cx: &Context) -> Self {
        let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
        l.record_outcome(&last, cx.now);
        Self {
            last,
            unfinished: Some(update.next_phase(cx.now.into())),
        }
    }

    pub(crate) fn waits_for_image(&self) -> bool {
        self.unfinished.is_some()
    }

    /// What is desired was found bad earlier.
    pub(super) fn found_bad(l: &Shared, error: UpdateError, cx: &Context) -> State {
        match l.durable.desired_app() {
            Some(app) => {
                let update = Update::new(app, cx.now.into());
                let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
                State::Failed(Self {
                    last,
                    unfinished: None,
                })
            }
            None => State::Idle(Idle::default()),
        }
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Signal(Signal::Entered) if self.waits_for_image() => Outcome::Handled,
            Input::Signal(Signal::DesiredChanged | Signal::Entered) => self.look(l, cx),
            Input::Event(Event::SupervisorObserved(_) | Event::SupervisorLogged(_))
                if self.waits_for_image() =>
            {
                self.go_on(input, l, cx)
            }
            Input::Event(event @ Event::SupervisorObserved(_)) => match self.look(l, cx) {
                Outcome::Handled => watch_superseded(l, event, cx),
                outcome => outcome,
            },
            Input::Event(event) => watch_superseded(l, event, cx),
            Input::Signal(_) => Outcome::Super,
        }
    }

    fn look(&self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Some(app) = l.durable.desired_app() else {
            return self.withdrawn(l, cx);
        };
        let other = app.release.commit != self.last.commit;
        if let Some(update) = self
            .unfinished
            .as_ref()
            .filter(|update| update.release == app.release)
            && l.durable.target.posted() == Some(update.commit())
            && !has_applied_another(l, update)
        {
            // The agent handed it over, so the gate was asked, and the Supervisor goes on with it whatever the gate says.
            return Outcome::Transition(State::Applying(Applying::go_on(update, cx)));
        }
        match decide(l, cx) {
            Decision::Update(update) => Outcome::Transition(State::Staging(Staging::new(update))),
            Decision::Running if other || self.waits_for_image() => {
                Outcome::Transition(State::Idle(Idle::default()))
            }
            Decision::KnownBad(error) if other => Outcome::Transition(Self::found_bad(l, error, cx)),
            Decision::Running | Decision::KnownBad(_) | Decision::Nothing => Outcome::Handled,
        }
    }

    /// The image that was missing is there, or the Supervisor works on the release for another reason.
    fn go_on(&self, input: Input<'_>, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Some(update) = &self.unfinished else {
            return Outcome::Super;
        };
        let pulled = match input {
            Input::Event(Event::SupervisorLogged(LogFact::PullDone { image })) => {
                image_not_found(&update.release, image, cx.now).is_some()
            }
            _ => false,
        };
        let desired = l.durable.desired_app().map(|app| &app.release);
        if desired == Some(&update.release) && (pulled || is_begun(l, &update.release)) {
            return self.look(l, cx);
        }
        Outcome::Super
    }

    /// Nothing is desired any more. A target that the Supervisor still tries to fetch must not come up some day.
    fn withdrawn(&self, l: &Shared, cx: &Context) -> Outcome<State> {
        let commit = &self.last.commit;
        let proven = l
            .durable
            .proven
            .as_ref()
            .is_some_and(|proven| proven.commit != *commit);
        match &self.unfinished {
            Some(update) if proven && l.durable.target.posted() == Some(commit) => {
                let why = "the operator withdrew the release before its image was there".to_owned();
                let error = UpdateError::new(ErrorCode::Withdrawn, why, Vec::new(), cx.now);
                Outcome::Transition(State::RollbackNeeded(RollbackNeeded::withdrawn(
                    l, update, error, cx,
                )))
            }
            _ => Outcome::Transition(Idle::after(self.last.clone())),
        }
    }
}

/// Whether the Supervisor is done with another release: its target is not this one any more.
fn has_applied_another(l: &Shared, update: &Update) -> bool {
    let applied = l.view().and_then(SupervisorView::applied_release);
    applied.is_some_and(|other| other != update.commit())
}
