//! Registering: one request at a time, with back-off. A refused token is final until a new one comes.

use super::State;
use super::idle::Idle;
use super::unenrolled::Unenrolled;
use crate::lifecycle::backoff;
use crate::lifecycle::book::{Node, PendingRegistration, RefusedToken};
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::{Event, Registration};
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// How it is going.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registering {
    /// Tries that failed in a row.
    pub failures: u32,
    not_before: Option<Millis>,
    problem: Option<String>,
    op: Unsaved<Option<OpId>>,
}

impl Registering {
    /// Begins a registration. Its id goes into the book, and so to disk, before the first call; the same token
    /// keeps the id it has, so a repetition after a crash spends nothing.
    pub(super) fn new(l: &mut Lifecycle, token: TokenId, fresh_id: &str) -> Self {
        let known = l
            .book
            .join
            .registration
            .as_ref()
            .is_some_and(|pending| pending.token == token);
        if !known {
            l.book.join.registration = Some(PendingRegistration {
                token,
                id: fresh_id.to_owned(),
            });
        }
        Self::default()
    }

    pub(super) fn carry_over(&mut self, saved: Millis, now: Stamp) {
        self.not_before = self.not_before.map(|until| now.boot + until.since(saved));
    }

    pub(super) fn enter(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        match self.not_before.filter(|until| *until > cx.now.boot) {
            Some(until) => l.timers.arm(Timer::Register, until),
            None => self.register(l, cx),
        }
    }

    /// Why the last try failed.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn register(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        let Some(pending) = l.book.join.registration.clone() else {
            return;
        };
        if l.ports.cloudly_busy() {
            // A last heartbeat of the identity that is being replaced; its answer is not far.
            l.timers
                .arm(Timer::Register, cx.now.boot + Duration::from_secs(1));
            return;
        }
        let op = l.ports.begin_cloudly();
        *self.op = Some(op);
        cx.emit(Effect::Register {
            op,
            token: pending.token,
            registration_id: pending.id,
            node: Box::new(l.run.node.clone()),
            labels: l.run.labels.clone(),
        });
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
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
            Event::JoinTokenOffered(offer) => match l.taken_up(offer) {
                Ok(token)
                    if l.book
                        .join
                        .registration
                        .as_ref()
                        .is_none_or(|pending| pending.token != token) =>
                {
                    Outcome::Transition(State::Registering(Self::new(l, token, &offer.registration_id)))
                }
                _ => Outcome::Handled,
            },
            _ => Outcome::Super,
        }
    }

    fn failed(&mut self, l: &mut Lifecycle, failure: &CallFailure, cx: &mut Context) -> Outcome<State> {
        // 401 is the server's last word on this token; everything else may pass.
        if !matches!(
            failure.kind,
            CallFailureKind::Unauthorized | CallFailureKind::NoCredentials
        ) {
            self.pause(l, failure.message.clone(), failure.retry_after_seconds, cx);
            return Outcome::Handled;
        }
        if let Some(pending) = l.book.join.registration.take() {
            let reason = failure.message.clone();
            cx.emit(Effect::ForgetJoinToken {
                token: pending.token.clone(),
            });
            l.book.join.refused = Some(RefusedToken {
                token: pending.token,
                reason,
                at: cx.now.wall,
            });
        }
        if l.book.node.is_some() {
            // The identity that was to be replaced is still there: better an old one than none.
            return Outcome::Transition(State::Idle(Idle::default()));
        }
        let problem = Some(format!("Cloudly refused the join token: {}", failure.message));
        Outcome::Transition(State::Unenrolled(Unenrolled { problem }))
    }

    fn pause(&mut self, l: &mut Lifecycle, problem: String, retry_after: Option<u32>, cx: &Context) {
        let until = cx.now.boot + backoff::after(retry_after, self.failures, cx.now.entropy);
        *self.op = None;
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
        self.not_before = Some(until);
        l.timers.arm(Timer::Register, until);
    }

    pub(in crate::lifecycle) fn summary(&self) -> String {
        match &self.problem {
            Some(problem) => format!(
                "Enrolling; {} tries failed, the last one: {problem}.",
                self.failures
            ),
            None => "Enrolling in Cloudly.".to_owned(),
        }
    }
}

fn enrol(l: &mut Lifecycle, node: &Registration, now: Stamp) {
    let new = l.book.node.as_ref().is_none_or(|known| known.id != node.node_id);
    let enrolled_epoch = l
        .book
        .node
        .as_ref()
        .filter(|_| !new)
        .map_or(l.book.epoch, |known| known.enrolled_epoch);
    let node_record = Node {
        id: node.node_id.clone(),
        approval: node.approval,
        approval_reason: node.approval_reason.clone(),
        fleet: node.fleet.clone(),
        confirmed: false,
        enrolled_epoch,
        min_heartbeat_seconds: node.limits.min_heartbeat_seconds,
        heartbeat_seconds: node.next_heartbeat_seconds,
    };
    l.beats = Default::default();
    l.beats.configure(&node_record);
    l.beats.hear_clock(node.server_time, now);
    l.book.node = Some(node_record);
    l.book.join.refused = None;
    if new {
        // Revisions count per node: those of another identity say nothing about this one.
        l.book.desired = None;
        l.book.recount();
    }
}
