//! Enrolled (superstate): heartbeats, desired state, commands, consent. They go on whatever the update does.

use super::State;
use super::registering::Registering;
use crate::lifecycle::beats::GOODBYE;
use crate::lifecycle::book::Deferral;
use crate::lifecycle::context::{Beat, Context, Query};
use crate::lifecycle::effect::{Effect, RequestId};
use crate::lifecycle::event::{Event, LocalCall};
use crate::lifecycle::facts::JoinOffer;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::local::DeferRequest;
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::register::Approval;
use statig::Outcome;
use std::time::Duration;

pub(super) fn enter(l: &mut Lifecycle, cx: &Context) {
    l.timers.arm(Timer::Heartbeat, cx.now.boot);
}

pub(super) fn handle(l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
    match event {
        Event::Elapsed(Timer::Heartbeat) => {
            l.timers.disarm(Timer::Heartbeat);
            cx.beat(Beat::Usual);
            Outcome::Handled
        }
        Event::BeatAnswered {
            orders,
            credentials_stored,
            ..
        } => {
            answered(l, orders, *credentials_stored, cx);
            Outcome::Handled
        }
        Event::BeatFailed { failure, .. } => {
            if l.stopping {
                stop(l, cx);
                return Outcome::Handled;
            }
            let next = l.beats.failed(failure, cx.now);
            l.timers.arm(Timer::Heartbeat, next);
            match l.offer.clone() {
                // Cloudly no longer knows this node, and a new join token lies ready.
                Some(offer) if l.beats.is_disowned() => rejoin(l, &offer),
                _ => Outcome::Handled,
            }
        }
        Event::JoinTokenOffered(offer) if offer.replace || l.beats.is_disowned() => rejoin(l, offer),
        Event::JoinTokenOffered(_) => Outcome::Handled,
        Event::StopRequested => {
            l.stopping = true;
            l.timers.arm(Timer::Goodbye, cx.now.boot + GOODBYE);
            if !l.ports.cloudly_busy() {
                cx.beat(Beat::Goodbye);
            }
            Outcome::Handled
        }
        Event::LocalRequested {
            request,
            call: LocalCall::Check,
        } => {
            l.beats.urge();
            cx.raise(Event::ConsentChanged);
            cx.reply(*request, Query::Update);
            Outcome::Handled
        }
        Event::LocalRequested {
            request,
            call: LocalCall::Approve,
        } => approve(l, *request, cx),
        Event::LocalRequested {
            request,
            call: LocalCall::Defer(defer),
        } => put_off(l, *request, defer, cx),
        _ => Outcome::Super,
    }
}

fn answered(l: &mut Lifecycle, orders: &Orders, credentials_stored: bool, cx: &mut Context) {
    let said_goodbye = l.tick_off();
    let node_id = l
        .book
        .node
        .as_ref()
        .map(|node| node.id.clone())
        .unwrap_or_default();
    if l.beats.server_now(cx.now.boot).is_none() {
        // Windows and slots are judged by Cloudly's clock, which is heard now for the first time in this run.
        cx.raise(Event::ConsentChanged);
    }
    let next = l.beats.accepted(orders, &node_id, cx.now);
    l.timers.arm(Timer::Heartbeat, next);
    confirm(l, orders, cx);
    if l.stopping {
        if said_goodbye {
            stop(l, cx);
        } else {
            cx.beat(Beat::Goodbye);
        }
        return;
    }
    if orders.clone_suspected {
        return;
    }
    if let Some(desired) = &orders.desired {
        let known = l.book.revision();
        if desired.revision > known || (desired.reset && desired.revision != known) {
            if let Some(app) = &desired.app {
                // An order to go ahead was about that release, not about the way back from it.
                l.book.last_policy = Some(Policy {
                    force: None,
                    ..app.policy.clone()
                });
            }
            if desired.revision < known {
                l.book.recount();
            }
            l.book.desired = Some(desired.clone());
            l.beats.urge();
            cx.raise(Event::DesiredChanged);
        } else if desired.revision == known && l.book.desired.as_ref() != Some(desired) {
            // The same revision: only the rollout's permission may be newer, everything else is settled.
            refresh_slot(l, desired, cx);
        }
    }
    l.take_commands(orders, credentials_stored, cx);
}

fn refresh_slot(l: &mut Lifecycle, desired: &baseos_interfaces::desired::Desired, cx: &mut Context) {
    let Some(newer) = desired.app.as_ref() else { return };
    let same = l
        .book
        .desired_app()
        .is_some_and(|app| app.release.commit == newer.release.commit && app.slot != newer.slot);
    if !same {
        return;
    }
    if let Some(app) = l.book.desired.as_mut().and_then(|desired| desired.app.as_mut()) {
        app.slot.clone_from(&newer.slot);
        cx.raise(Event::ConsentChanged);
    }
}

/// The first accepted heartbeat confirms the identity: the join token is spent.
fn confirm(l: &mut Lifecycle, orders: &Orders, cx: &mut Context) {
    if l.book.node.as_ref().is_some_and(|node| !node.confirmed) {
        if let Some(pending) = l.book.join.registration.take() {
            l.book.join.spent = Some(pending.token.clone());
            cx.emit(Effect::ForgetJoinToken { token: pending.token });
        }
        if let Some(node) = l.book.node.as_mut() {
            node.confirmed = true;
        }
    }
    let approval = orders.approval.filter(|approval| *approval != Approval::Unknown);
    let changed = l
        .book
        .node
        .as_ref()
        .is_some_and(|node| approval.is_some_and(|new| new != node.approval));
    if changed && let (Some(node), Some(approval)) = (l.book.node.as_mut(), approval) {
        node.approval = approval;
    }
}

fn rejoin(l: &mut Lifecycle, offer: &JoinOffer) -> Outcome<State> {
    match l.taken_up(offer) {
        Ok(token) => Outcome::Transition(State::Registering(Registering::new(
            l,
            token,
            &offer.registration_id,
        ))),
        Err(_) => Outcome::Handled,
    }
}

fn stop(l: &mut Lifecycle, cx: &mut Context) {
    l.timers.disarm(Timer::Goodbye);
    l.timers.disarm(Timer::Heartbeat);
    cx.emit(Effect::Stop);
}

fn approve(l: &mut Lifecycle, request: RequestId, cx: &mut Context) -> Outcome<State> {
    if let Some(commit) = l.offered_commit() {
        l.consent_to(&commit, cx.now);
        l.book.consent.approved = true;
        l.book.consent.deferral = None;
        cx.raise(Event::ConsentChanged);
        cx.reply(request, Query::Update);
    } else {
        cx.refuse(request, nothing_offered());
    }
    Outcome::Handled
}

fn put_off(l: &mut Lifecycle, request: RequestId, defer: &DeferRequest, cx: &mut Context) -> Outcome<State> {
    let Some(commit) = l.offered_commit() else {
        cx.refuse(request, nothing_offered());
        return Outcome::Handled;
    };
    l.consent_to(&commit, cx.now);
    let allowed = policy::deferral_allowed(&l.book, cx.now);
    let wanted = Duration::from_secs(defer.until_seconds.into());
    if wanted > allowed {
        let problem = Problem::new(
            422,
            code::INVALID_REQUEST,
            "the policy does not allow so long a deferral",
        )
        .detail(format!("untilSeconds may be at most {} now", allowed.as_secs()));
        cx.refuse(request, problem);
        return Outcome::Handled;
    }
    let until = cx.now.boot + wanted;
    l.book.consent.approved = false;
    l.book.consent.deferral = Some(Deferral {
        until,
        until_wall: policy::wall(cx.now, until).unwrap_or(cx.now.wall),
        reason: defer.reason.clone(),
        since: cx.now.wall,
    });
    cx.raise(Event::ConsentChanged);
    cx.reply(request, Query::Update);
    Outcome::Handled
}

fn nothing_offered() -> Problem {
    Problem::new(409, code::CONFLICT, "no update is waiting")
        .detail("ask again when GET /v1/status shows one")
}

impl Lifecycle {
    /// The commit consent would be about: what is desired and does not run.
    fn offered_commit(&self) -> Option<String> {
        let commit = &self.book.desired_app()?.release.commit;
        let running = self.view().and_then(|view| view.release.as_ref());
        (running != Some(commit)).then(|| commit.clone())
    }
}
