//! Staging: checks before anything is touched.

use super::State;
use super::applying::Applying;
use super::failed::Failed;
use super::waiting::Waiting;
use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{Inspection, SupervisorError};
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::Update;
use baseos_interfaces::status::{Blocker, BlockerKind, UpdateError};
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// The release is being checked against what the Supervisor has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Staging {
    /// The update.
    pub update: Box<Update>,
    look: Unsaved<Option<OpId>>,
    failures: Unsaved<u32>,
}

impl Staging {
    pub(super) fn new(update: Box<Update>) -> Self {
        Self {
            update,
            look: Unsaved(None),
            failures: Unsaved(0),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        l.consent_to(&self.update.release.commit, cx.now);
        self.look(l, cx);
    }

    pub(super) fn exit(&mut self, l: &mut Lifecycle) {
        if let Some(op) = self.look.take() {
            l.ports.forget(op);
        }
        l.timers.disarm(Timer::Retry);
    }

    fn look(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        *self.look = Some(l.ports.ask_supervisor(SupervisorCall::Inspect, cx));
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                self.look(l, cx);
                Outcome::Handled
            }
            Event::SupervisorAnswered { op, answer } if *self.look == Some(*op) => {
                *self.look = None;
                match &**answer {
                    Ok(SupervisorAnswer::Inspected(inspection)) => self.looked(inspection, l, cx),
                    Ok(_) => Outcome::Handled,
                    Err(error) => {
                        self.try_later(error, l, cx);
                        Outcome::Handled
                    }
                }
            }
            _ => Outcome::Super,
        }
    }

    fn looked(&mut self, inspection: &Inspection, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        let own_app = l.run.app_id;
        l.book.target.adopt(inspection, own_app);
        if !inspection.view.managed
            && let Err(refusal) = l.book.target.check(&self.update.release, &l.run.own_service)
        {
            let error = UpdateError {
                code: "releaseRefused".to_owned(),
                message: refusal.to_string(),
                evidence: Vec::new(),
                at: cx.now.wall,
            };
            return Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)));
        }
        proceed(&self.update, l, cx)
    }

    fn try_later(&mut self, error: &SupervisorError, l: &mut Lifecycle, cx: &Context) {
        let blocker = unavailable(&self.update, error, cx.now);
        self.update.set_blocked(vec![blocker]);
        l.timers.arm(
            Timer::Retry,
            cx.now.boot + backoff::SUPERVISOR.delay(*self.failures, cx.now.entropy),
        );
        *self.failures = self.failures.saturating_add(1);
    }
}

/// Nothing speaks against the release: begin, or say why not yet.
pub(super) fn proceed(update: &Update, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
    let gate = policy::gate(l, update, cx.now);
    if gate.blocked.is_empty() {
        return Outcome::Transition(State::Applying(Applying::new(l, update, cx)));
    }
    Outcome::Transition(State::Waiting(Waiting::new(update, gate, cx)))
}

/// The Supervisor holds it up.
pub(super) fn unavailable(update: &Update, error: &SupervisorError, now: Stamp) -> Blocker {
    let kind = BlockerKind::SupervisorUnavailable;
    let before = update.blocked.iter().find(|blocker| blocker.kind == kind);
    Blocker {
        kind,
        holder: None,
        reason: Some(error.message.clone()),
        since: before.map_or(now.wall, |blocker| blocker.since),
        expires_at: None,
    }
}

impl Lifecycle {
    /// From now on consent is about this commit; what was said about another does not count.
    pub(super) fn consent_to(&mut self, commit: &str, now: Stamp) {
        if self.book.consent.commit != commit {
            self.book.consent = crate::lifecycle::book::Consent {
                commit: commit.to_owned(),
                offered: Some(now.into()),
                ..Default::default()
            };
        }
    }
}
