//! Updating (superstate): what is common to an update in any phase — above all, that a newer desired state takes
//! its place.

use super::State;
use super::idle::{Idle, Wanted};
use super::rollback_needed::RollbackNeeded;
use super::staging::Staging;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::update::Update;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::UpdateError;
use statig::Outcome;

pub(super) fn handle(
    update: &mut Update,
    l: &mut Lifecycle,
    event: &Event,
    cx: &mut Context,
) -> Outcome<State> {
    match event {
        Event::DesiredChanged => match l.book.desired_app() {
            Some(app) if app.release == update.release => {
                // The same release under a new revision: the policy may differ, and the states ask it each time.
                update.rollout.clone_from(&app.rollout_id);
                cx.raise(Event::ConsentChanged);
                Outcome::Handled
            }
            Some(_) => supersede(update, l, cx),
            None => cancel(update, l, cx),
        },
        Event::ConsentChanged => Outcome::Handled,
        _ => Outcome::Super,
    }
}

fn supersede(update: &Update, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
    let finished = update.finished(UpdateState::Superseded, None, cx.now.wall);
    l.note_outcome(Some(&finished), cx);
    match l.wanted(cx) {
        Wanted::Update(newer) => Outcome::Transition(State::Staging(Staging::new(newer))),
        // The Supervisor may still be on its way to the release that is no longer wanted: go back to the old one.
        Wanted::Running | Wanted::Nothing | Wanted::KnownBad(_) if touched(update, l) => {
            go_back(update, l, cx)
        }
        Wanted::Running | Wanted::Nothing | Wanted::KnownBad(_) => Outcome::Transition(Idle::ended(finished)),
    }
}

fn cancel(update: &Update, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
    if touched(update, l) {
        return go_back(update, l, cx);
    }
    let finished = update.finished(UpdateState::Cancelled, None, cx.now.wall);
    l.note_outcome(Some(&finished), cx);
    Outcome::Transition(Idle::ended(finished))
}

fn go_back(update: &Update, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
    if l.book
        .good
        .as_ref()
        .is_none_or(|good| good.commit == update.release.commit)
    {
        // Nothing to go back to: what was begun stays, and the operator sees it.
        let finished = update.finished(UpdateState::Cancelled, None, cx.now.wall);
        l.note_outcome(Some(&finished), cx);
        return Outcome::Transition(Idle::ended(finished));
    }
    let error = UpdateError {
        code: "withdrawn".to_owned(),
        message: "the operator withdrew the release while it was being applied".to_owned(),
        evidence: Vec::new(),
        at: cx.now.wall,
    };
    Outcome::Transition(State::RollbackNeeded(RollbackNeeded::withdrawn(
        l, update, error, cx,
    )))
}

/// Whether the Supervisor has been handed this release.
fn touched(update: &Update, l: &Lifecycle) -> bool {
    l.book.target.posted() == Some(update.commit())
}
