//! Decides what the desired state asks for, by comparing it with what is known. Pure.

use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::facts::AppState;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::update::record::{Update, UpdateError};
use crate::lifecycle::update::target::Policy;

/// What the desired state asks for.
pub(crate) enum Decision {
    /// Nothing, or the facts to decide are not there yet.
    Nothing,
    /// What is desired runs.
    Running,
    /// What is desired is known to be bad here.
    KnownBad(UpdateError),
    /// What is desired is to be put in place.
    Update(Box<Update>),
}

/// Compares what is desired with what is known.
pub(crate) fn decide(l: &mut Shared, cx: &Context) -> Decision {
    let Some(app) = l.durable.desired_app() else {
        return Decision::Nothing;
    };
    let commit = app.release.commit.clone();
    let ordered_again = is_ordered_again(l, &commit);
    let refused = app.release.refused.is_some();
    let proven = l.durable.is_proven(&commit);
    let handed_over = l.durable.target.posted();
    let is_handed_over = handed_over == Some(commit.as_str());
    match &l.supervisor {
        None => return Decision::Nothing,
        // Whatever runs, that it was refused is told.
        Some(_) if refused && !proven => {}
        // What this agent handed over counts only once it has proved itself; until then it is to be watched.
        Some(Ok(view)) if view.app_state == AppState::Applied && view.release.as_ref() == Some(&commit) => {
            if !ordered_again && (proven || !is_handed_over) {
                return Decision::Running;
            }
        }
        // The Supervisor has lost its target: it is handed the release again without an update.
        Some(Ok(view))
            if proven && is_handed_over && view.has_lost_target() && l.durable.policy().reposts =>
        {
            return Decision::Nothing;
        }
        // A proven release while the Supervisor is silent or at work (after a reboot, say): wait and see, unless it
        // was told to apply another release.
        Some(seen)
            if proven
                && (is_handed_over || handed_over.is_none())
                && !matches!(seen, Ok(view) if view.app_state == AppState::Applied) =>
        {
            return Decision::Nothing;
        }
        Some(_) => {}
    }
    wanted(l, cx)
}

/// What is desired, whatever runs: unknown here, to be put in place, or known to be bad.
pub(crate) fn wanted(l: &mut Shared, cx: &Context) -> Decision {
    let Some(commit) = l.durable.desired_app().map(|app| app.release.commit.clone()) else {
        return Decision::Nothing;
    };
    if is_ordered_again(l, &commit) {
        l.durable.memory.forget(&commit);
    } else if let Some(error) = l.durable.memory.known_bad(&commit) {
        return Decision::KnownBad(error.clone());
    }
    let Some(app) = l.durable.desired_app() else {
        return Decision::Nothing;
    };
    let mut update = Update::new(app, cx.now.into());
    // Attempts are kept over an interruption; what is desired and not known to be bad gets at least one more.
    let spare = app.policy.max_attempts() - 1;
    update.attempt = l.durable.memory.attempts(&commit).min(spare);
    Decision::Update(update)
}

/// An operator's later order: a release that was found bad is tried again.
fn is_ordered_again(l: &Shared, commit: &str) -> bool {
    l.durable.policy().is_forced() && l.durable.memory.was_bad_before(commit, l.durable.revision())
}

/// When an attempt that failed before the release ran may be followed by another; `None`: none is left.
pub(crate) fn next_attempt(policy: &Policy, update: &Update, now: Stamp) -> Option<Millis> {
    let left = update.attempt < policy.max_attempts();
    left.then(|| now.boot + backoff::ATTEMPT.delay(update.attempt.saturating_sub(1), now.entropy))
}
