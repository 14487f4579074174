//! Enrolled (superstate): heartbeats, desired state, commands, consent. They go on whatever the update does.

use super::State;
use super::registering::Registering;
use crate::lifecycle::cloudly::commands::Circumstances;
use crate::lifecycle::cloudly::enrolment;
use crate::lifecycle::cloudly::heartbeat::GOODBYE;
use crate::lifecycle::context::{Context, HeartbeatKind, Query};
use crate::lifecycle::effect::{Effect, RequestId};
use crate::lifecycle::event::{Event, LocalCall};
use crate::lifecycle::facts::{CallFailure, JoinOffer};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::consent::nothing_offered;
use crate::lifecycle::update::target::{Desired, Release, too_large};
use baseos_interfaces::heartbeat::Instructions;
use baseos_interfaces::local::DeferRequest;
use statig::Outcome;

pub(super) fn enter(l: &mut Shared, cx: &Context) {
    l.timers.arm(Timer::Heartbeat, cx.now.boot);
}

pub(super) fn handle(l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
    let event = match input {
        Input::Event(event) => event,
        Input::Signal(Signal::JoinOffered(offer)) if offer.replace || l.heartbeats.is_disowned() => {
            return rejoin(l, offer);
        }
        Input::Signal(_) => return Outcome::Super,
    };
    match event {
        Event::Elapsed(Timer::Heartbeat) => {
            l.timers.disarm(Timer::Heartbeat);
            cx.send_heartbeat(HeartbeatKind::Regular);
        }
        Event::Elapsed(timer @ (Timer::Watch | Timer::Heal)) => l.timers.disarm(*timer),
        Event::HeartbeatAnswered {
            node_id,
            instructions,
            credentials_stored,
            ..
        } => {
            if let Some(id) = node_id {
                enrolment::accepted_as(l, id, cx);
            }
            answered(l, instructions, *credentials_stored, cx);
        }
        Event::HeartbeatFailed { failure, .. } => return failed(l, failure, cx),
        Event::StopRequested => {
            l.stopping = true;
            l.timers.arm(Timer::Goodbye, cx.now.boot + GOODBYE);
            if !l.in_flight.cloudly_busy() {
                cx.send_heartbeat(HeartbeatKind::Goodbye);
            }
        }
        Event::LocalRequested { request, call } => return local_requested(l, *request, call, cx),
        _ => return Outcome::Super,
    }
    Outcome::Handled
}

fn answered(l: &mut Shared, instructions: &Instructions, credentials_stored: bool, cx: &mut Context) {
    let said_goodbye = tick_off(l);
    let node_id = l.durable.node.as_ref().and_then(|node| node.id.as_deref());
    let clock_is_new = l.heartbeats.server_now(cx.now.boot).is_none();
    let clone_suspected = l.heartbeats.clone_suspected();
    let next = l.heartbeats.accepted(instructions, node_id, cx.now);
    l.hear_clock(instructions.server_time, cx.now);
    l.timers.arm(Timer::Heartbeat, next);
    enrolment::confirm(l, instructions.approval, cx);
    if l.stopping {
        if said_goodbye {
            stop(l, cx);
        } else {
            cx.send_heartbeat(HeartbeatKind::Goodbye);
        }
        return;
    }
    if !instructions.clone_suspected {
        // Before anything may begin: an update that has been superseded must not, least of all under the new policy.
        if let Some(desired) = &instructions.desired {
            if let Some(fallback) = desired
                .fallback
                .as_ref()
                .filter(|fallback| too_large(fallback).is_none())
            {
                take_fallback(l, fallback.into(), cx);
            }
            take_desired(l, desired.into(), desired.reset, cx);
        }
        take_commands(l, instructions, credentials_stored, cx);
    }
    if clock_is_new || clone_suspected != instructions.clone_suspected {
        // Windows and slots are judged by Cloudly's clock, which is heard now for the first time in this run; and a
        // suspicion holds everything back until it is cleared.
        cx.raise(Signal::GateChanged);
    }
}

/// Cloudly has what the last heartbeat carried. True: it was the goodbye.
fn tick_off(l: &mut Shared) -> bool {
    let Some(sent) = l.heartbeats.sent().cloned() else {
        return false;
    };
    if let Some(last) = &sent.carried.last_event {
        l.durable.outbox.delivered(last);
    }
    if !sent.carried.results.is_empty() {
        l.durable.commands.delivered(&sent.carried.results);
    }
    if sent.carried.left_over {
        l.heartbeats.urge();
    }
    sent.goodbye
}

/// The release that runs, in full. Once one has proved itself here there is no need of it.
fn take_fallback(l: &mut Shared, fallback: Release, cx: &mut Context) {
    let runs = l.running().is_none_or(|running| running == fallback.commit);
    if runs && l.durable.proven.is_none() && l.durable.fallback.as_ref() != Some(&fallback) {
        l.durable.fallback = Some(fallback);
        cx.raise(Signal::GateChanged);
    }
}

fn take_desired(l: &mut Shared, mut desired: Desired, reset: bool, cx: &mut Context) {
    let known = l.durable.revision();
    if desired.revision > known || (reset && desired.revision != known) {
        if let Some(app) = &mut desired.app {
            if app.release.refused.is_some() {
                // Its policy was not taken in either.
                app.policy = l.durable.policy().without_force();
            }
            l.durable.last_policy = Some(app.policy.without_force());
        }
        if desired.revision < known {
            l.durable.memory.restart_revisions();
        }
        let commit = desired.app.as_ref().map(|app| &*app.release.commit);
        l.durable.consent.forget_unless(commit);
        l.durable.desired = Some(desired);
        l.heartbeats.urge();
        cx.raise(Signal::DesiredChanged);
    } else if desired.revision == known && l.durable.desired.as_ref() != Some(&desired) {
        refresh_slot(l, &desired, cx);
    }
}

/// The same revision: only the rollout's permission may be newer, everything else is settled.
fn refresh_slot(l: &mut Shared, desired: &Desired, cx: &mut Context) {
    let Some(newer) = &desired.app else { return };
    let differs = l
        .durable
        .desired_app()
        .is_some_and(|app| app.release.commit == newer.release.commit && app.slot != newer.slot);
    if differs
        && let Some(app) = l
            .durable
            .desired
            .as_mut()
            .and_then(|desired| desired.app.as_mut())
    {
        app.slot.clone_from(&newer.slot);
        cx.raise(Signal::GateChanged);
    }
}

fn take_commands(l: &mut Shared, instructions: &Instructions, token_rotated: bool, cx: &mut Context) {
    if instructions.commands.is_empty() {
        return;
    }
    let durable = &mut *l.durable;
    let circumstances = Circumstances {
        own_service: &l.run.own_service,
        containers: l
            .supervisor
            .as_ref()
            .map(|seen| seen.as_ref().map_or(&[][..], |view| &view.containers)),
        app_id: durable.target.app_id().or(l.run.app_id),
        lease: durable.leases.longest(cx.now.boot),
        token_rotated,
    };
    if durable.commands.take_up(
        instructions,
        circumstances,
        &mut durable.healing,
        &mut l.in_flight,
        cx,
    ) {
        l.heartbeats.urge();
    }
}

fn failed(l: &mut Shared, failure: &CallFailure, cx: &mut Context) -> Outcome<State> {
    if l.stopping {
        stop(l, cx);
        return Outcome::Handled;
    }
    let next = l.heartbeats.failed(failure, cx.now);
    l.timers.arm(Timer::Heartbeat, next);
    let Some(offer) = l.offer.clone().filter(|_| l.heartbeats.is_disowned()) else {
        return Outcome::Handled;
    };
    // Cloudly no longer knows this node, and a join token lies ready.
    let is_pending = |token| l.durable.join.is_registering_with(token);
    if !offer.token.as_ref().is_ok_and(is_pending) {
        return rejoin(l, &offer);
    }
    // It has been used already: first it is the turn of the identity before.
    if l.heartbeats.failures() < 2 {
        return Outcome::Handled;
    }
    Outcome::Transition(Registering::again(l, cx.now))
}

fn rejoin(l: &mut Shared, offer: &JoinOffer) -> Outcome<State> {
    match l.durable.join.may_use(offer) {
        Ok(token) => Outcome::Transition(Registering::with(l, token, &offer.registration_id)),
        Err(_) => Outcome::Handled,
    }
}

fn stop(l: &mut Shared, cx: &mut Context) {
    l.timers.disarm(Timer::Goodbye);
    l.timers.disarm(Timer::Heartbeat);
    cx.emit(Effect::Stop);
}

fn local_requested(l: &mut Shared, request: RequestId, call: &LocalCall, cx: &mut Context) -> Outcome<State> {
    match call {
        LocalCall::Check => {
            l.heartbeats.urge();
            cx.raise(Signal::GateChanged);
            cx.reply(request, Query::Update);
        }
        LocalCall::Approve => approve(l, request, cx),
        LocalCall::Defer(defer) => defer_update(l, request, defer, cx),
        _ => return Outcome::Super,
    }
    Outcome::Handled
}

fn approve(l: &mut Shared, request: RequestId, cx: &mut Context) {
    match l.offered_commit() {
        Some(commit) => {
            l.durable.consent.approve(&commit, cx.now);
            cx.raise(Signal::GateChanged);
            cx.reply(request, Query::Update);
        }
        None => cx.refuse(request, nothing_offered()),
    }
}

fn defer_update(l: &mut Shared, request: RequestId, defer: &DeferRequest, cx: &mut Context) {
    let Some(commit) = l.offered_commit() else {
        return cx.refuse(request, nothing_offered());
    };
    let longest = l.durable.policy().max_defer();
    match l.durable.consent.defer(&commit, defer, longest, cx.now) {
        Ok(()) => {
            cx.raise(Signal::GateChanged);
            cx.reply(request, Query::Update);
        }
        Err(problem) => cx.refuse(request, problem),
    }
}
