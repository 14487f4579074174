//! Registering: one request at a time, with back-off. A refused token is final until a new one comes.

use super::State;
use super::idle::Idle;
use super::unenrolled::Unenrolled;
use crate::lifecycle::backoff;
use crate::lifecycle::cloudly::enrolment::{self, enrol};
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{CallFailure, CallFailureKind, JoinOffer};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::time::{Millis, Reboot, Stamp};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// Further tries of a node that is enrolled already; then it asks whether the identity it has is still accepted.
const TRIES_WITH_IDENTITY: u32 = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Registering {
    /// Tries that failed in a row.
    failures: u32,
    /// Boot-time clock.
    not_before: Option<Millis>,
    /// Why the last try failed.
    problem: Option<String>,
    /// The URL of Cloudly, as it may be shown, that the last try went to.
    url: Option<String>,
    #[serde(skip)]
    op: Unsaved<Option<OpId>>,
    /// Whether the last try was one of this run; of an earlier one the URL may have been another.
    #[serde(skip)]
    tried_in_this_run: Unsaved<bool>,
}

impl Registering {
    /// Begins a registration. Its id goes into the checkpoint, and so to disk, before the first call.
    pub(super) fn with(l: &mut Shared, token: TokenId, fresh_id: &RegistrationId) -> State {
        l.durable.join.begin(token, fresh_id);
        State::Registering(Self::default())
    }

    /// Repeats a registration of which Cloudly has given the identity and accepted no heartbeat.
    pub(super) fn again(l: &Shared, now: Stamp) -> State {
        let answers = l.durable.join.registration().map_or(0, |pending| pending.answers);
        State::Registering(Self {
            not_before: Some(now.boot + backoff::after(None, answers, now.entropy)),
            problem: Some("Cloudly registered this node and accepted no heartbeat of it".to_owned()),
            url: l.run.cloudly_url.clone(),
            ..Self::default()
        })
    }

    pub(super) fn carry_over(&mut self, reboot: Reboot) {
        self.not_before = self.not_before.map(|until| reboot.carry(until));
    }

    pub(super) fn enter(&mut self, l: &mut Shared, cx: &mut Context) {
        if self.url.is_some() && self.url != l.run.cloudly_url {
            // What another server was not able to do, or asked for, says nothing about this one.
            *self = Self::default();
        }
        match self.not_before.filter(|until| *until > cx.now.boot) {
            Some(until) => l.timers.arm(Timer::Register, until),
            None => self.register(l, cx),
        }
    }

    fn register(&mut self, l: &mut Shared, cx: &mut Context) {
        let Some(pending) = l.durable.join.registration().cloned() else {
            return;
        };
        if l.in_flight.cloudly_busy() {
            // A last heartbeat of the identity that is being replaced; its answer is not far.
            let soon = cx.now.boot + Duration::from_secs(1);
            return l.timers.arm(Timer::Register, soon);
        }
        let op = l.in_flight.begin_cloudly();
        *self.op = Some(op);
        cx.emit(Effect::Register {
            op,
            token: pending.token,
            registration_id: pending.id,
            node: Box::new(l.run.node.clone()),
            labels: l.run.labels.clone(),
        });
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        let event = match input {
            Input::Event(event) => event,
            Input::Signal(Signal::JoinOffered(offer)) => return offered(l, offer),
            Input::Signal(_) => return Outcome::Super,
        };
        match event {
            Event::Elapsed(Timer::Register) => {
                l.timers.disarm(Timer::Register);
                self.register(l, cx);
                Outcome::Handled
            }
            Event::Registered { op, node } if *self.op == Some(*op) => {
                enrol(l, node, cx.now);
                Outcome::Transition(State::Idle(Idle::default()))
            }
            Event::RegisterFailed { op, failure } if *self.op == Some(*op) => self.failed(l, failure, cx),
            Event::Withheld {
                op: Some(op),
                problem,
                ..
            } if *self.op == Some(*op) => {
                self.pause(l, format!("the state cannot be saved: {problem}"), None, cx);
                Outcome::Handled
            }
            _ => Outcome::Super,
        }
    }

    fn failed(&mut self, l: &mut Shared, failure: &CallFailure, cx: &mut Context) -> Outcome<State> {
        // 401 is final for this token; every other failure may pass.
        let refused = matches!(
            failure.kind,
            CallFailureKind::Unauthorized | CallFailureKind::NoCredentials
        );
        // While it registers it sends no heartbeat: better an old identity than none.
        if !refused && l.durable.node.is_some() {
            if is_final(failure.kind) {
                enrolment::abandon(l, cx);
                return Outcome::Transition(State::Idle(Idle::default()));
            }
            if self.failures >= TRIES_WITH_IDENTITY {
                return Outcome::Transition(State::Idle(Idle::default()));
            }
        }
        if !refused {
            self.pause(l, failure.message.clone(), failure.retry_after_seconds, cx);
            return Outcome::Handled;
        }
        if let Some(token) = l.durable.join.refuse(&failure.message, cx.now.wall) {
            cx.emit(Effect::ForgetJoinToken { token });
        }
        if l.durable.node.is_some() {
            // The identity that was to be replaced is still there: better an old one than none.
            return Outcome::Transition(State::Idle(Idle::default()));
        }
        if l.run.has_credentials {
            // An earlier answer was stored, and what was known of the node is lost: its token says whether it is one.
            l.durable.node = Some(Node::unknown(None));
            return Outcome::Transition(State::Idle(Idle::default()));
        }
        let problem = Some(format!("Cloudly refused the join token: {}", failure.message));
        Outcome::Transition(State::Unenrolled(Unenrolled { problem }))
    }

    fn pause(&mut self, l: &mut Shared, problem: String, retry_after: Option<u32>, cx: &Context) {
        let until = cx.now.boot + backoff::after(retry_after, self.failures, cx.now.entropy);
        *self.op = None;
        *self.tried_in_this_run = true;
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
        self.url.clone_from(&l.run.cloudly_url);
        self.not_before = Some(until);
        l.timers.arm(Timer::Register, until);
    }

    /// Why the last try failed.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The same, when the last try was one of this run.
    pub(crate) fn problem_of_this_run(&self) -> Option<&str> {
        self.problem().filter(|_| *self.tried_in_this_run)
    }

    /// One sentence for people.
    pub(crate) fn summary(&self) -> String {
        match &self.problem {
            Some(problem) => format!(
                "Enrolling; {} tries failed, the last one: {problem}.",
                self.failures
            ),
            None => "Enrolling in Cloudly.".to_owned(),
        }
    }
}

/// The same request will not be accepted later.
fn is_final(kind: CallFailureKind) -> bool {
    match kind {
        CallFailureKind::Unauthorized
        | CallFailureKind::NoCredentials
        | CallFailureKind::Suspended
        | CallFailureKind::Conflict
        | CallFailureKind::Removed
        | CallFailureKind::TooOld
        | CallFailureKind::Rejected => true,
        CallFailureKind::Unavailable | CallFailureKind::Unreachable | CallFailureKind::Garbage => false,
    }
}

/// Another token takes the place of the one that is being tried.
fn offered(l: &mut Shared, offer: &JoinOffer) -> Outcome<State> {
    match l.durable.join.may_use(offer) {
        Ok(token) if !l.durable.join.is_registering_with(&token) => {
            Outcome::Transition(Registering::with(l, token, &offer.registration_id))
        }
        _ => Outcome::Handled,
    }
}
