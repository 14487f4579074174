//! Idle: enrolled, and what runs is what is desired (or nothing is).

use super::State;
use super::failed::Failed;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::update::decide::{Decision, decide};
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::record::{Finished, Update, UpdateError};
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Idle {
    /// How the last update ended; `None`: there was none.
    pub(crate) last: Option<Finished>,
}

impl Idle {
    pub(super) fn after(last: Finished) -> State {
        State::Idle(Self { last: Some(last) })
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Signal(Signal::DesiredChanged | Signal::Entered) => self.look(l, cx),
            // The observation itself is the root's business too.
            Input::Event(Event::SupervisorObserved(_)) => match self.look(l, cx) {
                Outcome::Handled => Outcome::Super,
                outcome => outcome,
            },
            _ => Outcome::Super,
        }
    }

    fn look(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        match decide(l, cx) {
            Decision::Nothing => Outcome::Handled,
            Decision::Running => {
                self.found_running(l, cx);
                Outcome::Handled
            }
            Decision::KnownBad(error) => self.found_bad(l, error, cx),
            Decision::Update(update) => {
                record_foreign_target(l, &update, cx);
                Outcome::Transition(State::Staging(Staging::new(update)))
            }
        }
    }

    fn found_bad(&self, l: &Shared, error: UpdateError, cx: &Context) -> Outcome<State> {
        let Some(desired) = l.durable.desired_app() else {
            return Outcome::Handled;
        };
        // What was gone back from stays reported as that.
        let went_back =
            |last: &Finished| last.commit == desired.release.commit && last.state != UpdateState::Failed;
        if self.last.as_ref().is_some_and(went_back) {
            return Outcome::Handled;
        }
        Outcome::Transition(Failed::found_bad(l, error, cx))
    }

    /// What is desired runs without this agent's doing: it counts as succeeded, once.
    fn found_running(&mut self, l: &mut Shared, cx: &Context) {
        let Some(app) = l.durable.desired_app() else {
            return;
        };
        if app.release.refused.is_some() {
            return;
        }
        let commit = &app.release.commit;
        let reported = self.last.as_ref().is_some_and(|last| {
            last.commit == *commit && last.state == UpdateState::Succeeded && last.rollout == app.rollout
        });
        if reported && l.durable.is_proven(commit) {
            return;
        }
        let healthy = l
            .view()
            .is_some_and(|view| l.judge(view, &app.release, None) == Judgement::Healthy);
        if !healthy {
            return;
        }
        let app = app.clone();
        l.durable.prove(&app.release);
        let finished = Update::new(&app, cx.now.into()).finished(UpdateState::Succeeded, None, cx.now.wall);
        l.record_outcome(&finished, cx.now);
        self.last = Some(finished);
    }
}

/// What was proven here and handed over by this agent is to be put in place again: somebody else has handed the
/// Supervisor another target. It is replaced, and Cloudly is told.
fn record_foreign_target(l: &mut Shared, update: &Update, cx: &Context) {
    let commit = update.commit();
    let ours = l.durable.is_proven(commit) && l.durable.target.posted() == Some(commit);
    let other = l.running().filter(|running| *running != commit);
    if let Some(running) = other.map(str::to_owned).filter(|_| ours) {
        let data = serde_json::json!({ "running": running, "desired": commit });
        l.record_event(cx.now, EventKind::ForeignTarget, data);
    }
}
