//! Updating (superstate): what is common to an update in any phase; above all, that a newer desired state takes its
//! place.

use super::State;
use super::idle::Idle;
use super::rollback_needed::RollbackNeeded;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::guard::trial;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::decide::{Decision, decide, wanted};
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::last_look::judge_again;
use crate::lifecycle::update::record::{Update, UpdateError};
use crate::lifecycle::update::rollback::way_back;
use crate::lifecycle::update::superseded::{Course, Superseded};
use crate::lifecycle::update::verification::{BACKGROUND, containers};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::running::short;
use baseos_interfaces::states::UpdateState;
use statig::Outcome;
use std::time::Duration;

/// How long a superseded release whose agent is on trial waits until it is looked at again.
const TRIAL: Duration = Duration::from_secs(10);

pub(super) fn handle(
    update: &mut Update,
    l: &mut Shared,
    input: Input<'_>,
    cx: &mut Context,
) -> Outcome<State> {
    match input {
        Input::Signal(Signal::DesiredChanged) => desired_changed(update, l, cx),
        Input::Signal(Signal::GateChanged) => Outcome::Handled,
        Input::Signal(Signal::GuardRestored(restored)) if restored.commit == update.commit() => {
            Outcome::Transition(State::RollbackNeeded(RollbackNeeded::by_guard(
                l, update, restored, cx,
            )))
        }
        _ => Outcome::Super,
    }
}

fn desired_changed(update: &mut Update, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
    match l.durable.desired_app() {
        Some(app) if app.release == update.release => {
            // The same release under a new revision: the policy may differ, and the states ask it each time.
            update.rollout.clone_from(&app.rollout);
            cx.raise(Signal::GateChanged);
            Outcome::Handled
        }
        Some(_) => supersede(update, l, cx),
        None => leave(update, l, cx),
    }
}

fn supersede(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    match on_demand(l, cx) {
        Decision::Update(newer) => {
            let finished = update.finished(UpdateState::Superseded, None, cx.now.wall);
            l.record_outcome(&finished, cx.now);
            if was_handed_over(update, l) {
                l.durable.superseded = Some(Superseded::new(update));
                l.timers.arm(Timer::Watch, cx.now.boot);
            }
            Outcome::Transition(State::Staging(Staging::new(newer)))
        }
        // The Supervisor may still be on its way to the release that is no longer desired: go back to the old one.
        Decision::Running | Decision::Nothing | Decision::KnownBad(_) => leave(update, l, cx),
    }
}

/// What is desired, also before the first look at the Supervisor: staging looks.
fn on_demand(l: &mut Shared, cx: &Context) -> Decision {
    if l.supervisor.is_none() {
        return wanted(l, cx);
    }
    decide(l, cx)
}

/// Nothing takes the update's place. What the Supervisor was handed and has not proved itself is gone back from.
fn leave(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    let (ends, why) = match l.durable.desired_app() {
        Some(app) => {
            let desired = short(&app.release.commit);
            (
                UpdateState::Superseded,
                format!("release {desired} is desired in its place"),
            )
        }
        None => (
            UpdateState::Cancelled,
            "the operator withdrew the release while it was being applied".to_owned(),
        ),
    };
    let superseded = l
        .durable
        .superseded
        .as_ref()
        .map(|superseded| &*superseded.update);
    let handed_over = [Some(update), superseded]
        .into_iter()
        .flatten()
        .find(|update| was_handed_over(update, l))
        .cloned();
    let Some(handed_over) = handed_over.filter(|update| way_back(l, update.commit()).is_some()) else {
        // There is nothing to go back from, or no release to go back to: what was begun stays, and the operator sees it.
        let finished = update.finished(ends, None, cx.now.wall);
        l.record_outcome(&finished, cx.now);
        return Outcome::Transition(Idle::after(finished));
    };
    let reported = ends == UpdateState::Superseded || handed_over.commit() != update.commit();
    if reported {
        let finished = update.finished(ends, None, cx.now.wall);
        l.record_outcome(&finished, cx.now);
    }
    forget_superseded(l);
    let error = UpdateError::new(ErrorCode::Withdrawn, why, Vec::new(), cx.now);
    let back = RollbackNeeded::withdrawn(l, &handed_over, error, cx).reported(reported);
    Outcome::Transition(State::RollbackNeeded(back))
}

/// The release that the Supervisor was handed runs: it is verified, whatever its update is waiting for.
pub(super) fn runs(update: &Update, l: &Shared) -> bool {
    let before = Some(&update.predecessors);
    let judgement = l.view().map(|view| l.judge(view, &update.release, before));
    was_handed_over(update, l) && matches!(judgement, Some(Judgement::Healthy | Judgement::Unhealthy(_)))
}

/// Watches the release that was superseded after its hand-over, while nothing else has been handed over.
pub(super) fn watch_superseded(l: &mut Shared, event: &Event, cx: &mut Context) -> Outcome<State> {
    let Some(mut watched) = l.durable.superseded.clone() else {
        return Outcome::Super;
    };
    let last_look = watched.last_look.take(event);
    let concerned = match event {
        Event::SupervisorObserved(_) | Event::Elapsed(Timer::Watch) => true,
        Event::ServiceExited { service } => watched.update.release.minds_exit(service),
        _ => last_look.is_some(),
    };
    if !concerned || !was_handed_over(&watched.update, l) {
        return Outcome::Super;
    }
    let last_look = last_look.and_then(Result::ok);
    let before = Some(&watched.update.predecessors);
    let view = last_look.or_else(|| l.view());
    let judgement = view.map(|view| l.judge(view, &watched.update.release, before));
    let containers = containers(view);
    l.timers.disarm(Timer::Watch);
    match watched.see(event, judgement.as_ref(), l.watch(containers, BACKGROUND, cx.now)) {
        Course::Open => {
            if last_look.is_some() {
                judge_again(Timer::Watch, &[Timer::Watch], &mut l.timers, cx.now.boot);
            }
            l.durable.superseded = Some(watched);
        }
        // Its agent is on trial still; that decides first.
        Course::Healthy if trial::budget(l, watched.update.commit()).is_some() => {
            l.timers.arm(Timer::Watch, cx.now.boot + TRIAL);
            l.durable.superseded = Some(watched);
        }
        Course::Healthy if last_look.is_none() => {
            watched
                .last_look
                .begin(Timer::Watch, &mut l.in_flight, &mut l.timers, cx);
            l.durable.superseded = Some(watched);
        }
        // It is the release to go back to from now on.
        Course::Healthy => {
            forget_superseded(l);
            l.durable.prove(&watched.update.release);
        }
        Course::Bad => {
            forget_superseded(l);
            let update = watched.update.clone();
            let why = "it did not stay healthy after it was superseded";
            let error = UpdateError::new(ErrorCode::HealthCheckFailed, why, watched.into_evidence(), cx.now);
            let bad = RollbackNeeded::bad(l, &update, error, cx).reported(true);
            // Without a way back it stays until the newer one takes its place.
            if bad.is_restoring() {
                return Outcome::Transition(State::RollbackNeeded(bad));
            }
        }
    }
    Outcome::Super
}

/// Something else has been handed over.
pub(super) fn forget_superseded(l: &mut Shared) {
    l.timers.disarm(Timer::Watch);
    if l.durable.superseded.is_some()
        && let Some(mut forgotten) = l.durable.superseded.take()
    {
        forgotten.last_look.abandon(&mut l.in_flight);
    }
}

/// Whether the Supervisor has been handed this release.
pub(super) fn was_handed_over(update: &Update, l: &Shared) -> bool {
    l.durable.target.posted() == Some(update.commit())
}
