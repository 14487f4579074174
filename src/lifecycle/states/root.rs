//! Root: what every state has in common. Facts are absorbed before the states are asked.

use super::State;
use crate::lifecycle::context::{Context, Query};
use crate::lifecycle::effect::{Effect, LocalAnswer, RequestId};
use crate::lifecycle::event::{Event, LocalCall};
use crate::lifecycle::facts::{JoinOffer, SupervisorError};
use crate::lifecycle::healing;
use crate::lifecycle::locks::grants;
use crate::lifecycle::locks::lease_grant::{Grants, Provisional};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use baseos_interfaces::codes::{EventKind, ProblemCode};
use baseos_interfaces::local::LockRequest;
use baseos_interfaces::problem::Problem;
use statig::Outcome;

/// balena's lock files: one under each of its two names.
const LOCK_FILES: u8 = 2;

/// Takes in the fact an event brings, whatever state the agent is in. False: a result nobody waits for.
pub(super) fn absorb(l: &mut Shared, event: &Event, cx: &mut Context) -> bool {
    if let Some(op) = event.op()
        && !l.in_flight.settle(op, cx)
    {
        return false;
    }
    match event {
        Event::SupervisorObserved(view) => {
            l.progress.see(view, cx.now);
            let answered = l.supervisor.as_ref().map(Result::is_ok);
            if answered != Some(view.is_ok()) {
                l.heartbeats.urge();
            }
            l.supervisor = Some((**view).clone());
            l.supervisor_changed = cx.now.boot;
            // It may have been the Supervisor's own lock files that were in the way.
            l.lock_files.try_again();
        }
        Event::HostObserved(host) => {
            if l.host.foreign_locks != host.foreign_locks {
                cx.raise(Signal::GateChanged);
            }
            if l.host.foreign_locks != host.foreign_locks || l.host.lock_dir_problem != host.lock_dir_problem
            {
                l.lock_files.try_again();
            }
            if host.own_locks.is_some_and(|own| own < LOCK_FILES) {
                l.lock_files.were_removed();
            }
            l.host = host.clone();
            l.host_seen = true;
        }
        Event::SupervisorLogged(fact) => l.progress.hear(fact, cx.now),
        Event::StateWritten { problem } => l.state_problem.clone_from(problem),
        Event::LockFilesSettled { problem, .. } => {
            l.lock_files.settle(problem.as_ref());
            grants::resolve(l, cx);
        }
        Event::SupervisorAnswered { op, answer } => {
            l.arming.settle(*op, answer);
            let durable = &mut *l.durable;
            if durable.commands.settle(*op, answer, &mut durable.healing, cx.now) {
                l.heartbeats.urge();
            }
            healing::act::answered(l, *op, answer, cx.now);
        }
        Event::ServiceExited { service } => healing::act::exited(l, service, cx.now),
        Event::Withheld {
            request: Some(request),
            ..
        } => take_back_lease(l, *request, cx),
        Event::Withheld {
            op: Some(op),
            problem,
            ..
        } => {
            let error = SupervisorError::withheld(problem);
            let durable = &mut *l.durable;
            if durable
                .commands
                .withheld(*op, &error.message, &mut durable.healing, cx.now)
            {
                l.heartbeats.urge();
            }
            let refused = Err(error);
            l.arming.settle(*op, &refused);
            healing::act::answered(l, *op, &refused, cx.now);
        }
        Event::Elapsed(_)
        | Event::StopRequested
        | Event::Withheld { op: None, .. }
        | Event::Registered { .. }
        | Event::RegisterFailed { .. }
        | Event::HeartbeatAnswered { .. }
        | Event::HeartbeatFailed { .. }
        | Event::LocalRequested { .. } => {}
    }
    true
}

/// The last to be asked. Every event is named: one that nobody handles is counted, it never vanishes.
pub(super) fn handle(l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
    let event = match input {
        Input::Event(event) => event,
        // Signals ask states to look again; a state that has nothing to look at has nothing to do.
        Input::Signal(
            Signal::Entered
            | Signal::DesiredChanged
            | Signal::GateChanged
            | Signal::JoinOffered(_)
            | Signal::GuardRestored(_)
            | Signal::StepEnded,
        ) => return Outcome::Handled,
    };
    match event {
        Event::LocalRequested { request, call } => answer_local(l, *request, call, cx),
        Event::Elapsed(Timer::Lease) => {
            l.timers.disarm(Timer::Lease);
            expire_leases(l, cx);
        }
        Event::StopRequested | Event::Elapsed(Timer::Goodbye) => {
            l.stopping = true;
            l.timers.disarm(Timer::Goodbye);
            cx.emit(Effect::Stop);
        }
        // Absorbed already; a state that needs more has taken more. An exit matters to a verification alone.
        Event::SupervisorObserved(_)
        | Event::SupervisorLogged(_)
        | Event::ServiceExited { .. }
        | Event::HostObserved(_)
        | Event::StateWritten { .. }
        | Event::LockFilesSettled { .. }
        | Event::Withheld { .. } => {}
        Event::Registered { .. }
        | Event::RegisterFailed { .. }
        | Event::HeartbeatAnswered { .. }
        | Event::HeartbeatFailed { .. }
        | Event::SupervisorAnswered { .. }
        | Event::Elapsed(
            Timer::Register
            | Timer::Heartbeat
            | Timer::Retry
            | Timer::Recheck
            | Timer::Deadline
            | Timer::Health
            | Timer::Watch
            | Timer::Heal,
        ) => cx.ignored = true,
    }
    Outcome::Handled
}

fn answer_local(l: &mut Shared, request: RequestId, call: &LocalCall, cx: &mut Context) {
    match call {
        LocalCall::Handshake => cx.reply(request, Query::Handshake),
        LocalCall::Status => cx.reply(request, Query::Status),
        LocalCall::Locks => cx.reply(request, Query::Locks),
        LocalCall::Doctor => cx.reply(request, Query::Doctor),
        LocalCall::Lock {
            name,
            owner,
            request: lock,
        } => grant_lease(l, request, (name, owner, lock), cx),
        LocalCall::Unlock { name, owner } => match l.durable.leases.release(name, owner, cx.now.boot) {
            Ok(()) => {
                cx.reply(request, Query::Ready(LocalAnswer::Unlocked));
                cx.raise(Signal::GateChanged);
            }
            Err(problem) => cx.refuse(request, problem),
        },
        LocalCall::Join(offer) => offer_join_token(l, request, offer, cx),
        // Only an enrolled node has an update to speak of.
        LocalCall::Check | LocalCall::Approve | LocalCall::Defer(_) => {
            let problem = Problem::new(409, ProblemCode::Conflict, "this node is not enrolled")
                .detail("enrol it first: `baserunner join TOKEN`");
            cx.refuse(request, problem);
        }
    }
}

fn grant_lease(
    l: &mut Shared,
    request: RequestId,
    (name, owner, lock): (&str, &str, &LockRequest),
    cx: &mut Context,
) {
    let longest = l.durable.policy().max_defer();
    let before = l.durable.leases.clone();
    match l
        .durable
        .leases
        .acquire(name, owner, lock, cx.grants == Grants::Not, longest, cx.now)
    {
        Ok(lock) => {
            let renewed = before.iter().any(|lease| lease.fencing == lock.fencing);
            l.granted = Some((request, before));
            if cx.grants == Grants::IfHeld && !renewed {
                l.provisional.push(Provisional { request, lock });
                grants::resolve(l, cx);
            } else {
                cx.reply(request, Query::Ready(LocalAnswer::Lock(lock)));
            }
            cx.raise(Signal::GateChanged);
        }
        Err(problem) => cx.refuse(request, problem),
    }
}

/// The grant of a lease could not be written, so its asker was refused: it holds nothing.
fn take_back_lease(l: &mut Shared, request: RequestId, cx: &mut Context) {
    if let Some((_, before)) = l.granted.take_if(|(granted, _)| *granted == request) {
        l.durable.leases = before;
        cx.raise(Signal::GateChanged);
    }
    let late = std::mem::take(&mut l.granted_late);
    for grant in late.iter().filter(|grant| grant.request == request) {
        grants::take_back(l, &grant.lock);
        cx.raise(Signal::GateChanged);
    }
    l.granted_late = late
        .into_iter()
        .filter(|grant| grant.request != request)
        .collect();
}

fn expire_leases(l: &mut Shared, cx: &mut Context) {
    for lease in l.durable.leases.expire(cx.now.boot) {
        let data = serde_json::json!({ "name": lease.name, "owner": lease.owner, "reason": lease.reason });
        l.record_event(cx.now, EventKind::LeaseExpired, data);
    }
    cx.raise(Signal::GateChanged);
}

fn offer_join_token(l: &mut Shared, request: RequestId, offer: &JoinOffer, cx: &mut Context) {
    let keeps_identity = !offer.replace && !l.heartbeats.is_disowned();
    if let Some(node) = l.durable.node.as_ref().filter(|_| keeps_identity) {
        let title = format!("this node is {}", node.in_words());
        let problem = Problem::new(409, ProblemCode::Conflict, title).detail(
            "`baserunner join --replace TOKEN` (`replace` in the local API) gives it another identity",
        );
        return turn_down(l, request, offer, problem, cx);
    }
    if let Err(problem) = l.durable.join.may_use(offer) {
        let problem = Problem::new(409, ProblemCode::Conflict, problem).detail("make a new join token");
        return turn_down(l, request, offer, problem, cx);
    }
    l.offer = Some(offer.clone());
    cx.raise(Signal::JoinOffered(offer.clone()));
    cx.reply(request, Query::Joining);
}

/// A join token that is not used is not kept either, unless a registration with it is under way.
fn turn_down(l: &Shared, request: RequestId, offer: &JoinOffer, problem: Problem, cx: &mut Context) {
    if let Ok(token) = &offer.token
        && !l.durable.join.is_registering_with(token)
    {
        cx.emit(Effect::ForgetJoinToken { token: token.clone() });
    }
    cx.refuse(request, problem);
}
