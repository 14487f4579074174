//! RollbackNeeded: the release was put in place and is bad (or was withdrawn). Goes back to the release that proved
//! itself when the policy says so and there is one; otherwise waits for the operator.

use super::State;
use super::failed::Failed;
use super::idle::Idle;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{SupervisorError, SupervisorView};
use crate::lifecycle::guard::record::GuardRestored;
use crate::lifecycle::progress::hindrance::{hindrances, is_not_the_releases_fault};
use crate::lifecycle::progress::stall::start_failed;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::decide::{Decision, decide};
use crate::lifecycle::update::handover::{Handover, Progress};
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::last_look::{LastLook, judge_again};
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use crate::lifecycle::update::rollback::way_back;
use crate::lifecycle::update::target::Release;
use crate::lifecycle::update::verification::{
    FOREGROUND, Outlook, Verification, containers, extend_deadline,
};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::running::short;
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// How much longer the way back may take, at least, when there was no Supervisor to go it with.
const OUTAGE_EXTENSION: Duration = Duration::from_secs(60);

/// A bad release in place, and the way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RollbackNeeded {
    /// The update that went wrong.
    pub(crate) update: Box<Update>,
    /// Why.
    pub(crate) error: UpdateError,
    /// The way back; `None`: the operator decides.
    restore: Option<Box<Restore>>,
    /// It was not bad but withdrawn.
    withdrawn: bool,
    /// How its update ended has been told already: it was superseded.
    #[serde(default)]
    reported: bool,
    /// It was not in place at all.
    #[serde(default)]
    never_applied: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Restore {
    release: Release,
    handover: Handover,
    verification: Verification,
    #[serde(skip)]
    last_look: LastLook,
}

impl Restore {
    fn judge(&self, view: Option<&SupervisorView>, l: &Shared) -> Option<Judgement> {
        view.map(|view| l.judge(view, &self.release, None))
    }

    /// Takes in what a look shows.
    fn see(
        &mut self,
        judgement: Option<&Judgement>,
        seen: Vec<String>,
        l: &mut Shared,
        cx: &Context,
    ) -> Outlook {
        self.verification
            .see(judgement, l.watch(seen, FOREGROUND, cx.now))
    }
}

impl RollbackNeeded {
    /// The release ran or half ran and is bad: remembered, so that it is never tried again by itself.
    pub(super) fn bad(l: &mut Shared, update: &Update, error: UpdateError, cx: &Context) -> Self {
        let revision = l.durable.revision();
        l.durable.memory.declare_bad(update.commit(), &error, revision);
        Self::new(l, update, error, false, cx)
    }

    /// The Supervisor says that it is in place, but runs other images than it names. It can never be applied here, so it is
    /// given up; where the policy goes back, the release that proved itself comes first.
    pub(super) fn not_applied(l: &mut Shared, update: &Update, error: UpdateError, cx: &Context) -> State {
        let mut bad = Self::bad(l, update, error.clone(), cx);
        if !bad.is_restoring() {
            return State::Failed(Failed::give_up(l, update, error, cx));
        }
        bad.never_applied = true;
        State::RollbackNeeded(bad)
    }

    /// The operator withdrew it while it was being applied.
    pub(super) fn withdrawn(l: &Shared, update: &Update, error: UpdateError, cx: &Context) -> Self {
        Self::new(l, update, error, true, cx)
    }

    /// The guard has put the proven release back already: the way back is verified, whatever the policy says.
    pub(super) fn by_guard(l: &Shared, update: &Update, restored: &GuardRestored, cx: &Context) -> Self {
        Self::going_back(l, update, restored.error.clone(), true, cx)
    }

    fn new(l: &Shared, update: &Update, error: UpdateError, withdrawn: bool, cx: &Context) -> Self {
        let goes_back = withdrawn || l.durable.policy().rolls_back;
        let new = Self::going_back(l, update, error, goes_back, cx);
        Self { withdrawn, ..new }
    }

    fn going_back(l: &Shared, update: &Update, error: UpdateError, goes_back: bool, cx: &Context) -> Self {
        // A managed Supervisor is given its target by its backend.
        let managed = l.view().is_some_and(|view| view.managed);
        let back = way_back(l, update.commit()).filter(|_| goes_back && !managed);
        let restore = back.map(|release| {
            Box::new(Restore {
                release: release.clone(),
                handover: Handover::new(),
                verification: Verification::default(),
                last_look: LastLook::default(),
            })
        });
        Self {
            update: update.next_phase(cx.now.into()),
            error,
            restore,
            withdrawn: false,
            never_applied: false,
            reported: false,
        }
    }

    /// Whether how its update ended has been told already, so that two ends of one update are never told.
    pub(super) fn reported(self, reported: bool) -> Self {
        Self { reported, ..self }
    }

    pub(super) fn is_reported(&self) -> bool {
        self.reported
    }

    /// Whether the agent is going back by itself.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restore.is_some()
    }

    pub(super) fn enter(&mut self, l: &mut Shared, cx: &mut Context) {
        let Some(restore) = &mut self.restore else { return };
        let policy = l.durable.policy();
        let allowed = policy.apply_timeout() + policy.health();
        l.timers.arm(Timer::Deadline, self.update.since.boot + allowed);
        restore.verification.restart();
        if let Some(pause) = restore.handover.enter_anew(l, cx) {
            l.set_blocked(&mut self.update, vec![pause.blocker]);
        }
    }

    /// The Supervisor cannot be asked to go back, or how it is.
    fn silent(&mut self, error: &SupervisorError, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let silent = Blocker::supervisor_unavailable(error, cx.now).continuing(self.update.blocked());
        l.set_blocked(&mut self.update, vec![silent]);
        Outcome::Handled
    }

    pub(super) fn exit(&mut self, l: &mut Shared) {
        if let Some(restore) = &mut self.restore {
            restore.handover.abandon(l);
            restore.last_look.abandon(&mut l.in_flight);
        }
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        let event = match input {
            Input::Event(event) => event,
            Input::Signal(Signal::DesiredChanged) => return self.desired_changed(l, cx),
            Input::Signal(Signal::GuardRestored(restored)) if restored.commit == self.update.commit() => {
                let bad = Self::by_guard(l, &self.update, restored, cx).reported(self.reported);
                return Outcome::Transition(State::RollbackNeeded(bad));
            }
            Input::Signal(Signal::Entered) if self.is_restoring() => return self.observe(l, cx),
            Input::Signal(_) => return Outcome::Super,
        };
        match event {
            Event::SupervisorObserved(_) if self.is_restoring() => self.observe(l, cx),
            Event::SupervisorObserved(_) => match self.desired_changed(l, cx) {
                Outcome::Handled => Outcome::Super,
                outcome => outcome,
            },
            Event::SupervisorLogged(_) if self.is_restoring() => self.observe(l, cx),
            Event::ServiceExited { service } => self.exited(service, l, cx),
            Event::Elapsed(Timer::Health) => self.time_is_over(l, cx),
            Event::Elapsed(Timer::Deadline) => self.overdue(l, cx),
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                match &self.restore {
                    Some(restore) if restore.handover.is_handed_over() => self.observe(l, cx),
                    _ => self.hand_over(l, event, cx),
                }
            }
            Event::SupervisorAnswered { .. } | Event::Withheld { .. } => self.hand_over(l, event, cx),
            _ => Outcome::Super,
        }
    }

    /// Something else is desired, or the operator orders another try, or withdraws.
    fn desired_changed(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        let desired = l.durable.desired_app().map(|app| app.release.commit.clone());
        let same = desired.as_deref() == Some(self.update.commit());
        match decide(l, cx) {
            Decision::Update(update) => Outcome::Transition(State::Staging(Staging::new(update))),
            // The way back comes first; where it ends, what is desired is looked at again.
            _ if same || self.is_restoring() => {
                if let Some(restore) = &mut self.restore {
                    restore.handover.policy_changed(l, cx);
                }
                Outcome::Handled
            }
            // Something else is desired: what becomes of that is what the operator has to see from now on.
            Decision::Running => Outcome::Transition(State::Idle(Idle::default())),
            Decision::KnownBad(error) => Outcome::Transition(Failed::found_bad(l, error, cx)),
            Decision::Nothing if desired.is_some() => Outcome::Handled,
            // Nothing is desired any more and nobody goes back: the operator leaves it as it is.
            Decision::Nothing => {
                let error = Some(self.error.clone());
                let finished = self.update.finished(UpdateState::Failed, error, cx.now.wall);
                l.record_outcome(&finished, cx.now);
                Outcome::Transition(Idle::after(finished))
            }
        }
    }

    fn hand_over(&mut self, l: &mut Shared, event: &Event, cx: &mut Context) -> Outcome<State> {
        let Some(restore) = &mut self.restore else {
            return Outcome::Super;
        };
        match restore.last_look.take(event) {
            Some(Ok(view)) => return self.looked_at_the_end(view, l, cx),
            Some(Err(error)) => return self.silent(error, l, cx),
            None => {}
        }
        match restore.handover.handle(&restore.release, l, event, cx) {
            Progress::NotMine => Outcome::Super,
            // Displaced: the way back is handed over whatever is there, so it looks again and does so.
            Progress::Displaced(_) => {
                restore.handover.begin_anew(l, cx);
                Outcome::Handled
            }
            Progress::Going => Outcome::Handled,
            Progress::HandedOver => self.observe(l, cx),
            Progress::Locked(message) => self.not_restored(l, message, Vec::new(), cx),
            Progress::Refused { message, evidence } => self.not_restored(l, message, evidence, cx),
            Progress::Unavailable(error) => self.silent(&error, l, cx),
        }
    }

    fn observe(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        let Some(restore) = self
            .restore
            .as_mut()
            .filter(|restore| restore.handover.is_handed_over())
        else {
            return Outcome::Super;
        };
        let (judgement, seen) = (restore.judge(l.view(), l), containers(l.view()));
        let blocked = hindrances(l, &self.update, judgement.as_ref(), cx.now);
        l.set_blocked(&mut self.update, blocked);
        // What gets on has the whole time again, however slow it is.
        if l.progress.advanced() == cx.now.boot {
            let policy = l.durable.policy();
            let allowed = policy.apply_timeout() + policy.health();
            l.timers.arm(Timer::Deadline, cx.now.boot + allowed);
        }
        if let Some(error) = start_failed(l, &restore.release, &self.update, cx.now) {
            return self.not_restored(l, error.message, error.evidence, cx);
        }
        let outlook = restore.see(judgement.as_ref(), seen, l, cx);
        self.proceed(outlook, l, cx)
    }

    fn time_is_over(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        if let Some(restore) = &mut self.restore {
            restore
                .last_look
                .begin(Timer::Health, &mut l.in_flight, &mut l.timers, cx);
        }
        Outcome::Handled
    }

    /// The previous release counts as healthy only if this look says so too.
    fn looked_at_the_end(&mut self, view: &SupervisorView, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Some(restore) = &mut self.restore else {
            return Outcome::Handled;
        };
        let judgement = restore.judge(Some(view), l);
        let outlook = restore.see(judgement.as_ref(), containers(Some(view)), l, cx);
        if restore
            .verification
            .is_over(l.durable.policy().health(), cx.now.boot)
        {
            return self.restored(l, cx);
        }
        judge_again(
            Timer::Retry,
            &[Timer::Health, Timer::Retry],
            &mut l.timers,
            cx.now.boot,
        );
        self.proceed(outlook, l, cx)
    }

    /// Until the previous release was seen in place, it is the bad one that exits; its verification has not begun.
    fn exited(&mut self, service: &str, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Some(restore) = self
            .restore
            .as_mut()
            .filter(|restore| restore.release.minds_exit(service))
        else {
            return Outcome::Super;
        };
        let outlook = restore
            .verification
            .exited(service, l.watch_exit(FOREGROUND, cx.now));
        self.proceed(outlook, l, cx)
    }

    fn proceed(&mut self, outlook: Outlook, l: &mut Shared, cx: &Context) -> Outcome<State> {
        match outlook {
            Outlook::Open => Outcome::Super,
            Outlook::Bad => self.not_restored(
                l,
                "the previous release does not stay healthy either".to_owned(),
                Vec::new(),
                cx,
            ),
        }
    }

    fn restored(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        if self.never_applied {
            let failed = Failed::give_up(l, &self.update, self.error.clone(), cx);
            return Outcome::Transition(State::Failed(failed));
        }
        let state = if self.withdrawn {
            UpdateState::Cancelled
        } else {
            UpdateState::RolledBack
        };
        if let Some(restore) = self.restore.as_ref().filter(|_| l.durable.proven.is_none()) {
            // It ran before the first update, and has stayed healthy now.
            l.durable.prove(&restore.release);
        }
        let finished = self.update.finished(state, Some(self.error.clone()), cx.now.wall);
        if !self.reported {
            l.record_outcome(&finished, cx.now);
        }
        Outcome::Transition(Idle::after(finished))
    }

    fn overdue(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        if l.view().is_none() || is_not_the_releases_fault(self.update.blocked()) {
            // It is not the previous release that is in the way; what is, is reported already.
            let longer = l.durable.policy().apply_timeout().max(OUTAGE_EXTENSION);
            l.timers.arm(Timer::Deadline, cx.now.boot + longer);
            return Outcome::Handled;
        }
        if extend_deadline(&mut l.timers) {
            return Outcome::Handled;
        }
        let why = "the previous release was not in place in time".to_owned();
        self.not_restored(l, why, Vec::new(), cx)
    }

    fn not_restored(
        &mut self,
        l: &mut Shared,
        why: String,
        seen: Vec<String>,
        cx: &Context,
    ) -> Outcome<State> {
        let mut evidence = vec![format!("{}: {}", self.error.code, self.error.message)];
        evidence.append(&mut self.error.evidence.clone());
        if let Some(restore) = &self.restore {
            evidence.extend(restore.verification.evidence.iter().cloned());
        }
        evidence.extend(seen);
        let error = UpdateError::new(ErrorCode::RollbackFailed, why, evidence, cx.now);
        Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)))
    }

    /// One sentence for people.
    pub(crate) fn summary(&self) -> String {
        let bad = short(&self.update.release.commit);
        match &self.restore {
            Some(restore) => format!(
                "Going back from release {bad} to {}: {}.",
                short(&restore.release.commit),
                self.error.message
            ),
            None => format!(
                "Release {bad} is bad: {}. Waiting for the operator: it stays until another release is set desired.",
                self.error.message
            ),
        }
    }
}
