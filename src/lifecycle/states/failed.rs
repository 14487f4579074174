//! Failed: given up; reported with reason and evidence. Leaves when something else is desired, or on an
//! operator's order to try again.

use super::State;
use super::idle::{Idle, Wanted};
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::update::{Finished, Update};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::UpdateError;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// An update that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// How it ended.
    pub last: Finished,
}

impl Failed {
    /// Gives an update up and remembers that the release is bad here.
    pub(super) fn give_up(l: &mut Lifecycle, update: &Update, error: UpdateError, cx: &Context) -> Self {
        l.declare_bad(update, &error);
        let last = update.finished(UpdateState::Failed, Some(error), cx.now.wall);
        l.note_outcome(Some(&last), cx);
        Self { last }
    }

    /// The release was found bad earlier.
    pub(super) fn known_bad(update: &Update, error: UpdateError, cx: &Context) -> Self {
        Self {
            last: update.finished(UpdateState::Failed, Some(error), cx.now.wall),
        }
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::DesiredChanged | Event::Entered => self.decide(l, cx),
            Event::Observed(_) => match self.decide(l, cx) {
                Outcome::Handled => Outcome::Super,
                outcome => outcome,
            },
            _ => Outcome::Super,
        }
    }

    fn decide(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        let Some(app) = l.book.desired_app() else {
            return Outcome::Transition(Idle::ended(self.last.clone()));
        };
        let other = app.release.commit != self.last.commit;
        match l.wanted(cx) {
            Wanted::Update(update) => Outcome::Transition(State::Staging(Staging::new(update))),
            Wanted::Running if other => Outcome::Transition(State::Idle(Idle { last: None })),
            Wanted::KnownBad(error) if other => {
                let Some(app) = l.book.desired_app() else {
                    return Outcome::Handled;
                };
                let update = Update::new(app, cx.now.into());
                self.last = Self::known_bad(&update, error, cx).last;
                l.beats.urge();
                Outcome::Handled
            }
            Wanted::Running | Wanted::KnownBad(_) | Wanted::Nothing => Outcome::Handled,
        }
    }
}

impl Lifecycle {
    /// Remembers that a release is bad on this node.
    pub(super) fn declare_bad(&mut self, update: &Update, error: &UpdateError) {
        let revision = self.book.revision();
        let memory = self.book.remember(&update.release.commit);
        memory.known_bad = Some(error.clone());
        memory.revision = revision;
    }
}
