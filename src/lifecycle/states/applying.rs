//! Applying: the Supervisor works; progress is observed, never assumed.

use super::State;
use super::displaced::{Cause, displaced};
use super::failed::Failed;
use super::rollback_needed::RollbackNeeded;
use super::updating::{forget_superseded, was_handed_over};
use super::verifying::Verifying;
use super::waiting::Waiting;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::AppState;
use crate::lifecycle::progress::hindrance::hindrances;
use crate::lifecycle::progress::stall::{Stall, image_not_found, judge_stall, start_failed};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::time::Stamp;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::decide::next_attempt;
use crate::lifecycle::update::gate::gate;
use crate::lifecycle::update::handover::{Handover, Progress};
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::status::BlockerKind;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// After so long the Supervisor is at work on what it was handed.
const BEGINS: Duration = Duration::from_secs(60);

/// An update in the Supervisor's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applying {
    pub(crate) update: Box<Update>,
    /// How far handing it over has come.
    pub(super) handover: Handover,
    /// The agent has started since the release was handed over, and has not looked at the Supervisor's target yet.
    #[serde(skip)]
    resumed: Unsaved<bool>,
    /// The Supervisor was seen at work on it.
    #[serde(skip)]
    begun: Unsaved<bool>,
}

impl Applying {
    /// Begins an attempt; it is counted on disk before anything leaves.
    pub(super) fn new(l: &mut Shared, update: &Update, cx: &Context) -> Self {
        Self {
            update: next_attempt_of(l, update, cx),
            handover: Handover::new(),
            resumed: Unsaved(false),
            begun: Unsaved(false),
        }
    }

    /// Goes on with an attempt whose target the Supervisor has.
    pub(super) fn go_on(update: &Update, cx: &Context) -> Self {
        Self {
            update: update.next_phase(cx.now.into()),
            handover: Handover::new(),
            resumed: Unsaved(false),
            begun: Unsaved(false),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Shared, cx: &mut Context) {
        let allowed = l.durable.policy().apply_timeout();
        l.timers.arm(Timer::Deadline, self.update.since.boot + allowed);
        // Only a resumed update has been accepted before it begins.
        *self.resumed = self.handover.was_accepted();
        if let Some(pause) = self.handover.enter(l, cx) {
            self.update.set_blocked(vec![pause.blocker]);
        }
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        let event = match input {
            Input::Event(event) => event,
            Input::Signal(Signal::Entered) => return self.observe(l, cx),
            Input::Signal(Signal::GateChanged) => {
                self.handover.policy_changed(l, cx);
                self.handover.nudge(l, cx);
                return Outcome::Handled;
            }
            Input::Signal(_) => return Outcome::Super,
        };
        match event {
            Event::SupervisorObserved(_) | Event::SupervisorLogged(_) => self.observe(l, cx),
            Event::HostObserved(_) => {
                self.see_blockers(l, cx.now);
                Outcome::Super
            }
            Event::Elapsed(Timer::Deadline) => self.timed_out(l, cx),
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                if self.handover.is_handed_over() {
                    return self.look_again(l, cx);
                }
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
                *self.resumed = false;
                forget_superseded(l);
                if let Some(predecessors) = self.handover.take_predecessors() {
                    self.update.predecessors = predecessors;
                }
                l.timers.arm(Timer::Retry, cx.now.boot + BEGINS);
                self.see_blockers(l, cx.now);
                self.observe(l, cx)
            }
            Progress::Displaced(other) => {
                let cause = if *self.resumed {
                    Cause::AgentStarted
                } else {
                    Cause::ForeignTarget
                };
                displaced(&self.update, cause, other.as_deref(), l, cx)
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
    /// A release that was handed over may run at any moment, whatever this process knows of how it got there.
    fn observe(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        let watching = self.handover.is_handed_over();
        if !watching && !was_handed_over(&self.update, l) {
            return Outcome::Super;
        }
        self.see_blockers(l, cx.now);
        self.handover.nudge(l, cx);
        self.see_progress(l, cx.now);
        if let Some(failed) = self.missing_image(l, cx) {
            return Outcome::Transition(State::Failed(failed));
        }
        if let Some(error) = start_failed(l, &self.update.release, &self.update, cx.now) {
            return self.attempt_failed(l, error, cx);
        }
        let Some(judgement) = self.judge(l) else {
            return Outcome::Super;
        };
        match judgement {
            Judgement::Healthy | Judgement::Unhealthy(_) => {
                Outcome::Transition(State::Verifying(Verifying::new(&self.update, cx)))
            }
            Judgement::WrongImage(seen) => {
                let error = UpdateError::wrong_image(seen, cx.now);
                Outcome::Transition(RollbackNeeded::not_applied(l, &self.update, error, cx))
            }
            // It has finished with another release: is this one still its target?
            Judgement::Elsewhere(_) if watching && std::mem::take(&mut *self.begun) => {
                self.handover.begin(l, cx);
                Outcome::Super
            }
            // The Supervisor has not begun yet; its answer comes before its work.
            Judgement::Elsewhere(_) => Outcome::Super,
            Judgement::Pending(_) | Judgement::Unknown(_) => {
                *self.begun = true;
                if let Some(percent) = l.view().and_then(|view| view.download_percent) {
                    *self.update.progress = Some(percent);
                }
                Outcome::Super
            }
        }
    }

    /// The Supervisor should have begun by now. One that rests with another release may have been given that since.
    fn look_again(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        if matches!(self.judge(l), Some(Judgement::Elsewhere(_))) {
            self.handover.begin(l, cx);
        }
        Outcome::Handled
    }

    fn judge(&self, l: &Shared) -> Option<Judgement> {
        let before = Some(&self.update.predecessors);
        l.view().map(|view| l.judge(view, &self.update.release, before))
    }

    /// A lock, a failed pull and a slow one look alike in the Supervisor's state; its log tells them apart.
    fn see_blockers(&mut self, l: &mut Shared, now: Stamp) {
        // A new process has seen nothing yet: what held before may hold still.
        if !self.handover.is_handed_over() || l.supervisor.is_none() {
            return;
        }
        let blocked = hindrances(l, &self.update, self.judge(l).as_ref(), now);
        l.set_blocked(&mut self.update, blocked);
    }

    /// What gets on has the whole time again, however slow it is.
    fn see_progress(&mut self, l: &mut Shared, now: Stamp) {
        if l.progress.advanced() != now.boot {
            return;
        }
        l.timers
            .arm(Timer::Deadline, now.boot + l.durable.policy().apply_timeout());
        self.update
            .last_error
            .take_if(|error| error.code == ErrorCode::ApplyTimeout);
    }

    /// A registry that has no such image will not have it in a minute either: that is reported at once. The release is
    /// not bad for it, and the Supervisor goes on trying.
    fn missing_image(&self, l: &mut Shared, cx: &Context) -> Option<Failed> {
        let error = l
            .progress
            .images_not_found(self.update.since.boot)
            .find_map(|image| image_not_found(&self.update.release, image, cx.now))?;
        Some(Failed::without_image(l, &self.update, error, cx))
    }

    /// Nothing got on for as long as the policy allows.
    fn timed_out(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        let policy = l.durable.policy();
        let error = match judge_stall(l, &self.update, cx.now) {
            // Time that a silent Supervisor or the agent's own absence took is not the release's fault.
            Stall::Unseen => {
                l.timers
                    .arm(Timer::Deadline, cx.now.boot + policy.apply_timeout());
                return Outcome::Handled;
            }
            // The Supervisor goes on trying, with its own back-off, so it is watched and reported; and looked at, whether
            // the target is still its own.
            Stall::HeldUp(error) => {
                l.timers
                    .arm(Timer::Deadline, cx.now.boot + policy.apply_timeout());
                self.update.last_error = Some(error);
                self.handover.begin(l, cx);
                l.heartbeats.urge();
                return Outcome::Handled;
            }
            Stall::Release(error) => error,
        };
        self.attempt_failed(l, error, cx)
    }

    /// The release was begun to be put in place and does not come up.
    fn attempt_failed(&mut self, l: &mut Shared, error: UpdateError, cx: &mut Context) -> Outcome<State> {
        let policy = l.durable.policy();
        let Some(not_before) = next_attempt(&policy, &self.update, cx.now) else {
            return Outcome::Transition(State::RollbackNeeded(RollbackNeeded::bad(
                l,
                &self.update,
                error,
                cx,
            )));
        };
        self.update.last_error = Some(error);
        if was_handed_over(&self.update, l) {
            // The Supervisor goes on by itself: the next attempt is watched at once and asks the gate nothing.
            self.update = next_attempt_of(l, &self.update, cx);
            l.timers
                .arm(Timer::Deadline, cx.now.boot + policy.apply_timeout());
            self.handover.begin_attempt(l, cx);
            return Outcome::Handled;
        }
        self.update.not_before = Some(not_before);
        let gate = gate(l, &self.update, cx.now);
        Outcome::Transition(State::Waiting(Waiting::new(&self.update, gate.blocked, cx)))
    }
}

/// The update in its next attempt, which is counted on disk before anything of it leaves.
fn next_attempt_of(l: &mut Shared, update: &Update, cx: &Context) -> Box<Update> {
    let mut update = update.next_phase(cx.now.into());
    update.attempt += 1;
    update.not_before = None;
    update.until_heard = false;
    l.durable.memory.set_attempts(update.commit(), update.attempt);
    update
}
