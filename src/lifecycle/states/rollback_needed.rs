//! RollbackNeeded: the release was put in place and is bad (or was withdrawn). Goes back to the release that
//! proved itself when the policy says so and there is one; otherwise waits for the operator.

use super::State;
use super::applying::failure;
use super::failed::Failed;
use super::idle::{Idle, Wanted};
use super::staging::{Staging, unavailable};
use super::verifying::{disarm, health, overtime};
use crate::lifecycle::application::{Application, Progress};
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy;
use crate::lifecycle::report::short;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::Update;
use crate::lifecycle::verdict::judge;
use crate::lifecycle::vigil::{Outlook, Vigil};
use baseos_interfaces::desired::Release;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::UpdateError;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// A bad release in place, and the way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackNeeded {
    /// The update that went wrong.
    pub update: Box<Update>,
    /// Why.
    pub error: UpdateError,
    /// The way back; `None`: the operator decides.
    restore: Option<Restore>,
    /// It was not bad but withdrawn.
    withdrawn: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Restore {
    release: Release,
    application: Application,
    vigil: Vigil,
}

impl RollbackNeeded {
    /// The release ran or half ran and is bad: remembered, so that it is never tried again by itself.
    pub(super) fn bad(l: &mut Lifecycle, update: &Update, error: UpdateError, cx: &Context) -> Self {
        l.declare_bad(update, &error);
        let rolls_back = policy::rolls_back(&l.book);
        Self::new(l, update, error, rolls_back, false, cx)
    }

    /// The operator withdrew it in mid-application.
    pub(super) fn withdrawn(l: &mut Lifecycle, update: &Update, error: UpdateError, cx: &Context) -> Self {
        Self::new(l, update, error, true, true, cx)
    }

    fn new(
        l: &Lifecycle,
        update: &Update,
        error: UpdateError,
        go: bool,
        withdrawn: bool,
        cx: &Context,
    ) -> Self {
        let managed = l.view().is_some_and(|view| view.managed);
        let good = l
            .book
            .good
            .as_ref()
            .filter(|good| go && !managed && good.commit != update.release.commit);
        let restore = good.map(|release| Restore {
            release: release.clone(),
            application: Application::default(),
            vigil: Vigil::default(),
        });
        Self {
            update: update.next_phase(cx.now.into()),
            error,
            restore,
            withdrawn,
        }
    }

    /// Whether the agent is going back by itself.
    pub fn is_restoring(&self) -> bool {
        self.restore.is_some()
    }

    pub(super) fn enter(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        let Some(restore) = &mut self.restore else { return };
        let allowed = Duration::from_secs(l.book.policy().apply_timeout_seconds.max(1).into());
        l.timers
            .arm(Timer::Deadline, self.update.since.boot + allowed + health(l));
        restore.vigil.restart();
        restore.application.begin(l, cx);
    }

    pub(super) fn exit(&mut self, l: &mut Lifecycle) {
        if let Some(restore) = &mut self.restore {
            restore.application.abandon(l);
        }
        disarm(l);
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::DesiredChanged => self.desired_changed(l, cx),
            Event::Observed(_) | Event::Entered if self.is_restoring() => self.observe(l, cx),
            Event::Observed(_) => match self.desired_changed(l, cx) {
                Outcome::Handled => Outcome::Super,
                outcome => outcome,
            },
            Event::ServiceExited { service } => self.exited(service, l, cx),
            Event::Elapsed(Timer::Health) => self.restored(l, cx),
            Event::Elapsed(Timer::Deadline) => self.overdue(l, cx),
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                match &self.restore {
                    Some(restore) if restore.application.is_handed_over() => self.observe(l, cx),
                    _ => self.hand_over(l, event, cx),
                }
            }
            Event::SupervisorAnswered { .. } | Event::Withheld { .. } => self.hand_over(l, event, cx),
            _ => Outcome::Super,
        }
    }

    /// Something else is desired, or the operator orders another try, or withdraws.
    fn desired_changed(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        let other = l
            .book
            .desired_app()
            .map(|app| app.release.commit != self.update.release.commit);
        match (l.wanted(cx), other) {
            (Wanted::Update(update), _) => Outcome::Transition(State::Staging(Staging::new(update))),
            (_, Some(_)) => Outcome::Handled,
            (_, None) if self.is_restoring() => Outcome::Handled,
            (_, None) => {
                // Nothing is desired any more and nobody goes back: the operator leaves it as it is.
                let finished =
                    self.update
                        .finished(UpdateState::Failed, Some(self.error.clone()), cx.now.wall);
                l.note_outcome(Some(&finished), cx);
                Outcome::Transition(Idle::ended(finished))
            }
        }
    }

    fn hand_over(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        let Some(restore) = &mut self.restore else {
            return Outcome::Super;
        };
        let force = l.book.policy().force.is_some();
        match restore.application.handle(&restore.release, force, l, event, cx) {
            Progress::NotMine => Outcome::Super,
            Progress::Going => Outcome::Handled,
            Progress::HandedOver => self.observe(l, cx),
            Progress::Locked(message) | Progress::Refused(message) => self.not_restored(l, message, cx),
            Progress::Unavailable(error) => {
                let blocker = unavailable(&self.update, &error, cx.now);
                self.update.set_blocked(vec![blocker]);
                Outcome::Handled
            }
        }
    }

    fn observe(&mut self, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        let Some(restore) = self
            .restore
            .as_mut()
            .filter(|restore| restore.application.is_handed_over())
        else {
            return Outcome::Super;
        };
        self.update.set_blocked(Vec::new());
        let images = l.book.target.images(&restore.release.commit);
        let verdict = l.view().map(|view| judge(view, &restore.release, images));
        let outlook = restore.vigil.see(verdict.as_ref(), health(l), l, cx);
        self.proceed(outlook, l, cx)
    }

    /// Until the previous release was seen in place, it is the bad one that exits; its vigil knows.
    fn exited(&mut self, service: &str, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        let Some(restore) = self
            .restore
            .as_mut()
            .filter(|restore| restore.release.services.contains_key(service))
        else {
            return Outcome::Super;
        };
        let outlook = restore.vigil.exited(service, health(l), l, cx);
        self.proceed(outlook, l, cx)
    }

    fn proceed(&mut self, outlook: Outlook, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        match outlook {
            Outlook::Open => Outcome::Super,
            Outlook::Bad => self.not_restored(
                l,
                "the previous release does not stay healthy either".to_owned(),
                cx,
            ),
        }
    }

    fn restored(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        let state = if self.withdrawn {
            UpdateState::Cancelled
        } else {
            UpdateState::RolledBack
        };
        let finished = self.update.finished(state, Some(self.error.clone()), cx.now.wall);
        l.note_outcome(Some(&finished), cx);
        Outcome::Transition(Idle::ended(finished))
    }

    fn overdue(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        if l.view().is_none() || !self.update.blocked.is_empty() {
            // Without the Supervisor there is no way back and no way to see; its silence is reported already.
            let allowed = Duration::from_secs(l.book.policy().apply_timeout_seconds.max(60).into());
            l.timers.arm(Timer::Deadline, cx.now.boot + allowed);
            return Outcome::Handled;
        }
        if overtime(l) {
            return Outcome::Handled;
        }
        self.not_restored(l, "the previous release was not in place in time".to_owned(), cx)
    }

    fn not_restored(&mut self, l: &mut Lifecycle, why: String, cx: &Context) -> Outcome<State> {
        let mut evidence = vec![format!("{}: {}", self.error.code, self.error.message)];
        evidence.append(&mut self.error.evidence.clone());
        if let Some(restore) = &self.restore {
            evidence.extend(restore.vigil.evidence.iter().cloned());
        }
        let error = failure("rollbackFailed", why, evidence, cx.now);
        Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)))
    }

    pub(in crate::lifecycle) fn summary(&self) -> String {
        let bad = short(&self.update.release.commit);
        match &self.restore {
            Some(restore) => format!(
                "Going back from release {bad} to {}: {}.",
                short(&restore.release.commit),
                self.error.message
            ),
            None => format!(
                "Release {bad} is bad: {}. Waiting for the operator.",
                self.error.message
            ),
        }
    }
}
