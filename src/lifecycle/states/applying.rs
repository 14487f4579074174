//! Applying: the Supervisor works; progress is observed, never assumed.

use super::State;
use super::rollback_needed::RollbackNeeded;
use super::staging::unavailable;
use super::verifying::Verifying;
use super::waiting::Waiting;
use crate::lifecycle::application::{Application, Progress};
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy::{self, AfterFailure};
use crate::lifecycle::states::failed::Failed;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::Update;
use crate::lifecycle::verdict::{Verdict, judge};
use baseos_interfaces::status::{Blocker, BlockerKind, UpdateError};
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// An update in the Supervisor's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applying {
    /// The update.
    pub update: Box<Update>,
    /// How far handing it over has come.
    pub application: Application,
}

impl Applying {
    /// Begins an attempt; it is counted on disk before anything leaves.
    pub(super) fn new(l: &mut Lifecycle, update: &Update, cx: &Context) -> Self {
        let mut update = update.next_phase(cx.now.into());
        update.attempt += 1;
        update.not_before = None;
        l.book.remember(&update.release.commit).attempts = update.attempt;
        Self {
            update,
            application: Application::default(),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        let allowed = Duration::from_secs(l.book.policy().apply_timeout_seconds.max(1).into());
        l.timers.arm(Timer::Deadline, self.update.since.boot + allowed);
        self.application.begin(l, cx);
    }

    pub(super) fn exit(&mut self, l: &mut Lifecycle) {
        self.application.abandon(l);
        l.timers.disarm(Timer::Deadline);
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::Observed(_) | Event::Entered => self.observe(l, cx),
            Event::HostObserved(_) => {
                self.see_blockers(l, cx.now);
                Outcome::Super
            }
            Event::ConsentChanged => {
                if l.book.policy().force.is_some() {
                    self.application.nudge(l, cx);
                }
                Outcome::Handled
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

    fn hand_over(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        let force = l.book.policy().force.is_some();
        match self.application.handle(&self.update.release, force, l, event, cx) {
            Progress::NotMine => Outcome::Super,
            Progress::Going => Outcome::Handled,
            Progress::HandedOver => {
                self.update.set_blocked(Vec::new());
                self.observe(l, cx)
            }
            Progress::Locked(message) => {
                let gate = policy::Gate {
                    blocked: vec![self.lock(None, message, cx.now)],
                    recheck: None,
                };
                self.update.attempt = self.update.attempt.saturating_sub(1);
                l.book.remember(&self.update.release.commit).attempts = self.update.attempt;
                Outcome::Transition(State::Waiting(Waiting::new(&self.update, gate, cx)))
            }
            Progress::Refused(message) => {
                let error = failure("releaseRefused", message, Vec::new(), cx.now);
                Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)))
            }
            Progress::Unavailable(error) => {
                let blocker = unavailable(&self.update, &error, cx.now);
                self.update.set_blocked(vec![blocker]);
                Outcome::Handled
            }
        }
    }

    /// Looks at what the Supervisor has made of it.
    fn observe(&mut self, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        if !self.application.is_handed_over() {
            return Outcome::Super;
        }
        self.see_blockers(l, cx.now);
        let Some(view) = l.view() else {
            return Outcome::Super;
        };
        match judge(
            view,
            &self.update.release,
            l.book.target.images(&self.update.release.commit),
        ) {
            Verdict::Healthy | Verdict::Unhealthy(_) => {
                Outcome::Transition(State::Verifying(Verifying::new(&self.update, cx)))
            }
            // Elsewhere: the Supervisor has not begun yet; its answer comes before its work.
            Verdict::Pending(_) | Verdict::Elsewhere(_) => {
                if let Some(percent) = view.download_percent {
                    *self.update.progress = Some(percent);
                }
                Outcome::Super
            }
        }
    }

    /// A lock looks like a slow pull from outside; the lock files tell them apart. A Supervisor that does not answer
    /// cannot be seen to work at all.
    fn see_blockers(&mut self, l: &Lifecycle, now: Stamp) {
        if !self.application.is_handed_over() {
            return;
        }
        if let Some(Err(error)) = &l.supervisor {
            let blocker = unavailable(&self.update, error, now);
            return self.update.set_blocked(vec![blocker]);
        }
        let stuck = l.view().is_some_and(|view| view.update_failed);
        let locks: Vec<_> = match l.host.foreign_locks.first() {
            Some(path) if stuck => {
                vec![self.lock(
                    Some(path.clone()),
                    "a lock file the agent did not make".to_owned(),
                    now,
                )]
            }
            _ => Vec::new(),
        };
        self.update.set_blocked(locks);
    }

    fn lock(&self, holder: Option<String>, reason: String, now: Stamp) -> Blocker {
        let kind = BlockerKind::LocalLock;
        let before = self.update.blocked.iter().find(|blocker| blocker.kind == kind);
        let since = before.map_or(now.wall, |blocker| blocker.since);
        Blocker {
            kind,
            holder,
            reason: Some(reason),
            since,
            expires_at: None,
        }
    }

    fn timed_out(&mut self, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        let allowed = Duration::from_secs(l.book.policy().apply_timeout_seconds.max(1).into());
        // Time that a lock, a silent Supervisor or the agent's own absence took is not the release's fault.
        if !self.update.blocked.is_empty() || l.view().is_none() {
            l.timers.arm(Timer::Deadline, cx.now.boot + allowed);
            return Outcome::Handled;
        }
        let mut evidence = match l.view() {
            Some(view) => match judge(
                view,
                &self.update.release,
                l.book.target.images(&self.update.release.commit),
            ) {
                Verdict::Pending(seen) | Verdict::Unhealthy(seen) => seen,
                Verdict::Healthy | Verdict::Elsewhere(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        if let Some(percent) = *self.update.progress {
            evidence.push(format!("download at {percent} %"));
        }
        let message = format!("not in place after {} s", allowed.as_secs());
        let error = failure("applyTimeout", message, evidence, cx.now);
        match policy::after_failure(&l.book, &self.update, false, cx.now) {
            AfterFailure::Retry(not_before) => {
                self.update.not_before = Some(not_before);
                self.update.last_error = Some(error);
                let gate = policy::gate(l, &self.update, cx.now);
                Outcome::Transition(State::Waiting(Waiting::new(&self.update, gate, cx)))
            }
            AfterFailure::GiveUp => Outcome::Transition(State::RollbackNeeded(RollbackNeeded::bad(
                l,
                &self.update,
                error,
                cx,
            ))),
        }
    }
}

pub(super) fn failure(code: &str, message: String, evidence: Vec<String>, now: Stamp) -> UpdateError {
    UpdateError {
        code: code.to_owned(),
        message,
        evidence,
        at: now.wall,
    }
}
