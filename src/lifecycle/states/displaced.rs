//! The Supervisor was handed a release and has another target now. What that says depends on when it was found.

use super::State;
use super::rollback_needed::RollbackNeeded;
use super::waiting::Waiting;
use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::update::decide::next_attempt;
use crate::lifecycle::update::gate::gate;
use crate::lifecycle::update::record::{Update, UpdateError};
use baseos_interfaces::codes::{ErrorCode, EventKind};
use baseos_interfaces::running::short;
use statig::Outcome;
use std::time::Duration;

/// How long a release that did not survive is not handed over again unless Cloudly is heard before.
const GRACE: Duration = Duration::from_secs(300);

/// What came before the other target was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The agent has started: the release may be why another one was put in its place.
    AgentStarted,
    /// Nothing: somebody else handed the Supervisor a target, which is no verdict on the release.
    ForeignTarget,
}

/// The next attempt begins later, through the gate: what was handed over is not the Supervisor's target any more.
pub(super) fn displaced(
    update: &Update,
    cause: Cause,
    other: Option<&str>,
    l: &mut Shared,
    cx: &Context,
) -> Outcome<State> {
    let mut update = update.next_phase(cx.now.into());
    // The next attempt is a trial of its own.
    l.durable.guard.displaced();
    let name = other.map_or_else(
        || "no release".to_owned(),
        |other| format!("release {}", short(other)),
    );
    let error = |message: String| {
        let evidence = vec![format!("the Supervisor's target is {name}")];
        UpdateError::new(ErrorCode::Displaced, message, evidence, cx.now)
    };
    match cause {
        Cause::AgentStarted => {
            let commit = short(update.commit());
            let error = error(format!(
                "release {commit} did not survive a start of the agent: {name} is in its place"
            ));
            let policy = l.durable.policy();
            if next_attempt(&policy, &update, cx.now).is_none() {
                let bad = RollbackNeeded::bad(l, &update, error, cx);
                return Outcome::Transition(State::RollbackNeeded(bad));
            }
            update.last_error = Some(error);
            update.not_before = Some(cx.now.boot + GRACE);
            update.until_heard = true;
        }
        Cause::ForeignTarget => {
            let data = serde_json::json!({ "running": other, "desired": update.commit() });
            l.record_event(cx.now, EventKind::ForeignTarget, data);
            update.last_error = Some(error(format!("somebody else handed the Supervisor {name}")));
            update.attempt = update.attempt.saturating_sub(1);
            l.durable.memory.set_attempts(update.commit(), update.attempt);
            update.not_before = Some(cx.now.boot + backoff::ATTEMPT.delay(0, cx.now.entropy));
        }
    }
    let blocked = gate(l, &update, cx.now).blocked;
    Outcome::Transition(State::Waiting(Waiting::new(&update, blocked, cx)))
}
