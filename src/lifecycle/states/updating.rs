//! Updating (superstate): what is common to an update in any phase; above all, that a newer desired state takes its
//! place.

use super::State;
use super::idle::Idle;
use super::rollback_needed::RollbackNeeded;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::update::decide::{Decision, decide};
use crate::lifecycle::update::record::{Update, UpdateError};
use crate::lifecycle::update::rollback::way_back;
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::states::UpdateState;
use statig::Outcome;

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
        None => cancel(update, l, cx),
    }
}

fn supersede(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    let finished = update.finished(UpdateState::Superseded, None, cx.now.wall);
    l.record_outcome(&finished, cx.now);
    match decide(l, cx) {
        Decision::Update(newer) => Outcome::Transition(State::Staging(Staging::new(newer))),
        // The Supervisor may still be on its way to the release that is no longer desired: go back to the old one.
        Decision::Running | Decision::Nothing | Decision::KnownBad(_) if was_handed_over(update, l) => {
            go_back(update, l, cx)
        }
        Decision::Running | Decision::Nothing | Decision::KnownBad(_) => {
            Outcome::Transition(Idle::after(finished))
        }
    }
}

fn cancel(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    if was_handed_over(update, l) {
        return go_back(update, l, cx);
    }
    cancelled(update, l, cx)
}

fn go_back(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    if way_back(l, update.commit()).is_none() {
        // There is no release to go back to: what was begun stays, and the operator sees it.
        return cancelled(update, l, cx);
    }
    let why = "the operator withdrew the release while it was being applied".to_owned();
    let error = UpdateError::new(ErrorCode::Withdrawn, why, Vec::new(), cx.now);
    Outcome::Transition(State::RollbackNeeded(RollbackNeeded::withdrawn(
        l, update, error, cx,
    )))
}

fn cancelled(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    let finished = update.finished(UpdateState::Cancelled, None, cx.now.wall);
    l.record_outcome(&finished, cx.now);
    Outcome::Transition(Idle::after(finished))
}

/// Whether the Supervisor has been handed this release.
fn was_handed_over(update: &Update, l: &Shared) -> bool {
    l.durable.target.posted() == Some(update.commit())
}
