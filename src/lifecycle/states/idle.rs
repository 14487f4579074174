//! Idle: enrolled, and what runs is what is desired (or nothing is).

use super::State;
use super::failed::Failed;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::AppState;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::update::{Finished, Update};
use crate::lifecycle::verdict::{Verdict, judge};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::UpdateError;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// How the last update ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// `None`: there was none.
    pub last: Option<Finished>,
}

/// What the desired state asks for.
pub(super) enum Wanted {
    /// Nothing, or nothing that can be told yet.
    Nothing,
    /// What runs already.
    Running,
    /// A release that is known to be bad here.
    KnownBad(UpdateError),
    /// An update.
    Update(Box<Update>),
}

impl Idle {
    pub(super) fn ended(last: Finished) -> State {
        State::Idle(Self { last: Some(last) })
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::DesiredChanged | Event::ConsentChanged | Event::Entered => self.decide(l, cx),
            Event::Observed(_) => {
                // The observation itself is the root's business too.
                match self.decide(l, cx) {
                    Outcome::Handled => Outcome::Super,
                    outcome => outcome,
                }
            }
            _ => Outcome::Super,
        }
    }

    fn decide(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        match l.wanted(cx) {
            Wanted::Nothing => Outcome::Handled,
            Wanted::Running => {
                self.already_there(l, cx);
                Outcome::Handled
            }
            Wanted::KnownBad(error) => {
                let Some(desired) = l.book.desired_app() else {
                    return Outcome::Handled;
                };
                if self
                    .last
                    .as_ref()
                    .is_some_and(|last| last.commit == desired.release.commit)
                {
                    return Outcome::Handled;
                }
                let update = Update::new(desired, cx.now.into());
                Outcome::Transition(State::Failed(Failed::known_bad(&update, error, cx)))
            }
            Wanted::Update(update) => {
                l.note_stranger(&update, cx);
                Outcome::Transition(State::Staging(Staging::new(update)))
            }
        }
    }

    /// What is desired runs without this agent's doing: it counts as succeeded, once.
    fn already_there(&mut self, l: &mut Lifecycle, cx: &Context) {
        let Some(app) = l.book.desired_app() else { return };
        let same = self.last.as_ref().is_some_and(|last| {
            last.commit == app.release.commit
                && last.state == UpdateState::Succeeded
                && last.rollout == app.rollout_id
        });
        let proven = l
            .book
            .good
            .as_ref()
            .is_some_and(|good| good.commit == app.release.commit);
        if same && proven {
            return;
        }
        let healthy = l.view().is_some_and(|view| {
            judge(view, &app.release, l.book.target.images(&app.release.commit)) == Verdict::Healthy
        });
        if !healthy {
            return;
        }
        let app = app.clone();
        l.book.prove(&app.release);
        let update = Update::new(&app, cx.now.into());
        self.last = Some(update.finished(UpdateState::Succeeded, None, cx.now.wall));
        l.note_outcome(self.last.as_ref(), cx);
    }
}

impl Lifecycle {
    /// Compares what is desired with what is known.
    pub(super) fn wanted(&mut self, cx: &Context) -> Wanted {
        let Some(app) = self.book.desired_app() else {
            return Wanted::Nothing;
        };
        if self.beats.clone_suspected {
            return Wanted::Nothing;
        }
        let commit = app.release.commit.clone();
        let proven = self.book.good.as_ref().is_some_and(|good| good.commit == commit);
        let posted = self.book.target.posted();
        let handed_over = posted == Some(commit.as_str());
        // Another order to try, later than the finding that it is bad.
        let ordered =
            app.policy.force.is_some()
                && self.book.memory.get(&commit).is_some_and(|memory| {
                    memory.known_bad.is_some() && self.book.revision() > memory.revision
                });
        match &self.supervisor {
            None => return Wanted::Nothing,
            // What this agent handed over counts only once it has proved itself; until then it is to be watched.
            Some(Ok(view))
                if view.app_state == AppState::Applied && view.release.as_ref() == Some(&commit) =>
            {
                if !ordered && (proven || !handed_over) {
                    return Wanted::Running;
                }
            }
            // A proven release while the Supervisor is silent or at work (after a reboot, say): wait and see, unless
            // it is another release that it was told to work at.
            Some(seen)
                if proven
                    && (handed_over || posted.is_none())
                    && !matches!(seen, Ok(view) if view.app_state == AppState::Applied) =>
            {
                return Wanted::Nothing;
            }
            Some(_) => {}
        }
        if ordered {
            self.book.memory.remove(&commit);
        } else if let Some(error) = self.book.known_bad(&commit) {
            return Wanted::KnownBad(error.clone());
        }
        let Some(app) = self.book.desired_app() else {
            return Wanted::Nothing;
        };
        let mut update = Update::new(app, cx.now.into());
        // Attempts are kept over an interruption; what is wanted and not known to be bad gets at least one more.
        let spare = app.policy.max_attempts.max(1) - 1;
        update.attempt = self
            .book
            .memory
            .get(&commit)
            .map_or(0, |memory| memory.attempts.min(spare));
        Wanted::Update(update)
    }

    /// What was proven here and handed over by this agent is to be put in place again: somebody else has handed the
    /// Supervisor another target. It gives way, but not in silence.
    fn note_stranger(&mut self, update: &Update, cx: &Context) {
        let proven = self.book.good.as_ref().map(|good| good.commit.as_str());
        let running = self.view().and_then(|view| view.release.clone());
        if let Some(running) = running.filter(|running| running != update.commit())
            && proven == Some(update.commit())
            && self.book.target.posted() == proven
        {
            let data = serde_json::json!({ "running": running, "desired": update.commit() });
            self.book.note(cx.now, "foreignTarget", data);
        }
    }

    /// Tells Cloudly how an update ended, once.
    pub(super) fn note_outcome(&mut self, finished: Option<&Finished>, cx: &Context) {
        let Some(finished) = finished else { return };
        let data = serde_json::json!({
            "target": finished.commit, "state": finished.state, "attempt": finished.attempt,
            "rolloutId": finished.rollout, "error": finished.error,
        });
        self.book.note(cx.now, "updateFinished", data);
        self.beats.urge();
    }
}
