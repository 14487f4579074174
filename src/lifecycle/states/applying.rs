//! Applying: the Supervisor works; progress is observed, never assumed.

use super::State;
use super::failed::Failed;
use super::rollback_needed::RollbackNeeded;
use super::verifying::Verifying;
use super::waiting::Waiting;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::AppState;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::time::Stamp;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::decide::next_attempt;
use crate::lifecycle::update::gate::{foreign_lock, gate, leases};
use crate::lifecycle::update::handover::{Handover, Progress};
use crate::lifecycle::update::judgement::{Judgement, judge};
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::status::BlockerKind;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// An update in the Supervisor's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applying {
    pub(crate) update: Box<Update>,
    /// How far handing it over has come.
    pub(super) handover: Handover,
}

impl Applying {
    /// Begins an attempt; it is counted on disk before anything leaves.
    pub(super) fn new(l: &mut Shared, update: &Update, cx: &Context) -> Self {
        let mut update = update.next_phase(cx.now.into());
        update.attempt += 1;
        update.not_before = None;
        l.durable.memory.set_attempts(update.commit(), update.attempt);
        Self {
            update,
            handover: Handover::default(),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Shared, cx: &mut Context) {
        let allowed = l.durable.policy().apply_timeout();
        l.timers.arm(Timer::Deadline, self.update.since.boot + allowed);
        self.handover.begin(l, cx);
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        let event = match input {
            Input::Event(event) => event,
            Input::Signal(Signal::Entered) => return self.observe(l, cx),
            Input::Signal(Signal::GateChanged) => {
                if l.durable.policy().is_forced() {
                    self.handover.nudge(l, cx);
                }
                return Outcome::Handled;
            }
            Input::Signal(_) => return Outcome::Super,
        };
        match event {
            Event::SupervisorObserved(_) => self.observe(l, cx),
            Event::HostObserved(_) => {
                self.see_blockers(l, cx.now);
                Outcome::Super
            }
            Event::Elapsed(Timer::Deadline) => self.timed_out(l, cx),
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                self.hand_over(l, event, cx)
            }
            Event::SupervisorAnswered { .. } | Event::Withheld { .. } => self.hand_over(l, event, cx),
            _ => Outcome::Super,
        }
    }

    /// Whether a lease can still hold it back: the Supervisor has it, changes nothing yet as far as is known, and was not
    /// ordered to pass over locks.
    pub(super) fn may_be_held_back(&self, l: &Shared) -> bool {
        self.handover.is_handed_over()
            && !l.durable.policy().is_forced()
            && l.view()
                .is_some_and(|view| !view.managed && view.app_state != AppState::Applied)
    }

    fn hand_over(&mut self, l: &mut Shared, event: &Event, cx: &mut Context) -> Outcome<State> {
        match self.handover.handle(&self.update.release, l, event, cx) {
            Progress::NotMine => Outcome::Super,
            Progress::Going => Outcome::Handled,
            Progress::HandedOver => {
                self.update.set_blocked(Vec::new());
                self.observe(l, cx)
            }
            Progress::Locked(message) => self.locked(l, message, cx),
            Progress::Refused { message, evidence } => {
                let error = UpdateError::new(ErrorCode::ReleaseRefused, message, evidence, cx.now);
                Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)))
            }
            Progress::Unavailable(error) => {
                let blocker =
                    Blocker::supervisor_unavailable(&error, cx.now).continuing(self.update.blocked());
                self.update.set_blocked(vec![blocker]);
                Outcome::Handled
            }
        }
    }

    /// The Supervisor refused because of a lock: nothing was begun, so the attempt does not count.
    fn locked(&mut self, l: &mut Shared, message: String, cx: &Context) -> Outcome<State> {
        self.update.attempt = self.update.attempt.saturating_sub(1);
        l.durable
            .memory
            .set_attempts(self.update.commit(), self.update.attempt);
        let lock = Blocker::new(BlockerKind::LocalLock, cx.now.wall)
            .because(message)
            .continuing(self.update.blocked());
        Outcome::Transition(State::Waiting(Waiting::new(&self.update, vec![lock], cx)))
    }

    /// Looks at what the Supervisor has made of it.
    fn observe(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        if !self.handover.is_handed_over() {
            return Outcome::Super;
        }
        self.see_blockers(l, cx.now);
        let Some(judgement) = self.judge(l) else {
            return Outcome::Super;
        };
        match judgement {
            Judgement::Healthy | Judgement::Unhealthy(_) => {
                Outcome::Transition(State::Verifying(Verifying::new(&self.update, cx)))
            }
            // Elsewhere: the Supervisor has not begun yet; its answer comes before its work.
            Judgement::Pending(_) | Judgement::Elsewhere(_) => {
                if let Some(percent) = l.view().and_then(|view| view.download_percent) {
                    *self.update.progress = Some(percent);
                }
                Outcome::Super
            }
        }
    }

    fn judge(&self, l: &Shared) -> Option<Judgement> {
        let images = l.durable.target.images(self.update.commit());
        l.view().map(|view| judge(view, &self.update.release, images))
    }

    /// A lock looks like a slow pull from outside; the lock files tell them apart. A Supervisor that does not answer
    /// cannot be seen to work at all.
    fn see_blockers(&mut self, l: &Shared, now: Stamp) {
        if !self.handover.is_handed_over() {
            return;
        }
        let stuck = l.view().is_some_and(|view| view.update_failed);
        let mut blockers = match (&l.supervisor, l.host.foreign_locks.first()) {
            (Some(Err(error)), _) => vec![Blocker::supervisor_unavailable(error, now)],
            (_, Some(path)) if stuck => vec![foreign_lock(path, now)],
            _ => Vec::new(),
        };
        if stuck {
            blockers.extend(leases(l, now));
        }
        let blockers = blockers.into_iter();
        let blockers = blockers.map(|blocker| blocker.continuing(self.update.blocked()));
        self.update.set_blocked(blockers.collect());
    }

    fn timed_out(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let policy = l.durable.policy();
        let judgement = self.judge(l);
        // Time that a lock, a silent Supervisor or the agent's own absence took is not the release's fault.
        let Some(judgement) = judgement.filter(|_| self.update.blocked().is_empty()) else {
            l.timers
                .arm(Timer::Deadline, cx.now.boot + policy.apply_timeout());
            return Outcome::Handled;
        };
        let mut evidence = match judgement {
            Judgement::Pending(seen) | Judgement::Unhealthy(seen) => seen,
            Judgement::Healthy | Judgement::Elsewhere(_) => Vec::new(),
        };
        if let Some(percent) = *self.update.progress {
            evidence.push(format!("download at {percent} %"));
        }
        let message = format!("not in place after {} s", policy.apply_timeout().as_secs());
        let error = UpdateError::new(ErrorCode::ApplyTimeout, message, evidence, cx.now);
        let Some(not_before) = next_attempt(&policy, &self.update, cx.now) else {
            return Outcome::Transition(State::RollbackNeeded(RollbackNeeded::bad(
                l,
                &self.update,
                error,
                cx,
            )));
        };
        self.update.not_before = Some(not_before);
        self.update.last_error = Some(error);
        let gate = gate(l, &self.update, cx.now);
        Outcome::Transition(State::Waiting(Waiting::new(&self.update, gate.blocked, cx)))
    }
}
