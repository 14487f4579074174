//! The guard has put the proven release back: the agent takes note of that once, before it does anything else. It learns of
//! it from the guard's report when it starts; where that is missing, from what the Supervisor shows.

use crate::lifecycle::durable::Durable;
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{AppState, Run, SupervisorView};
use crate::lifecycle::guard::record::GuardRestored;
use crate::lifecycle::guard::trial::has_gone_back;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::update::record::UpdateError;
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::running::short;

/// Remembers the release as bad. `None`: the guard has reported nothing that is not known.
pub(crate) fn take_note(durable: &mut Durable, run: &Run, now: Stamp) -> Option<GuardRestored> {
    let restored = run.guard.as_ref()?.report.as_ref()?.restored.as_ref()?;
    if !durable.guard.note_restored(restored.number) {
        return None;
    }
    let message = "the new agent did not prove itself, and the guard put the previous release back";
    let error = UpdateError::new(ErrorCode::AgentNotProven, message, restored.evidence.clone(), now);
    Some(remember(durable, &restored.commit, &restored.to, error))
}

/// The same without a report, which the guard could not write, or which is lost: the trial has had its time, and the
/// Supervisor is seen to have finished with the proven release in another container than the one that began the trial.
pub(crate) fn infer(l: &mut Shared, event: &Event, now: Stamp) -> Option<GuardRestored> {
    let view = seen(event)?;
    let trial = l.durable.guard.trial()?;
    let proven = l.durable.proven.as_ref()?;
    let is_back = l.run.guard.is_some()
        && !view.managed
        && view.app_state == AppState::Applied
        && view.release.as_ref() == Some(&proven.commit)
        && has_gone_back(trial, &view.containers)
        && l.durable.guard.trial_has_had_its_time(now.boot);
    if !is_back {
        return None;
    }
    let (number, commit, to) = (trial.number, trial.commit.clone(), proven.commit.clone());
    if !l.durable.guard.note_restored(number) {
        return None;
    }
    let message = "the new agent did not prove itself in time, and the previous release is back; the guard's report of that is missing";
    let evidence = vec![format!("the Supervisor runs release {} again", short(&to))];
    let error = UpdateError::new(ErrorCode::AgentNotProven, message, evidence, now);
    Some(remember(&mut l.durable, &commit, &to, error))
}

fn seen(event: &Event) -> Option<&SupervisorView> {
    match event {
        Event::SupervisorObserved(view) => view.as_ref().as_ref().ok(),
        Event::SupervisorAnswered { answer, .. } => match answer.as_ref() {
            Ok(SupervisorAnswer::Inspected(inspection)) => Some(&inspection.view),
            _ => None,
        },
        _ => None,
    }
}

fn remember(durable: &mut Durable, commit: &str, to: &str, error: UpdateError) -> GuardRestored {
    durable.target.posted_by_guard(to);
    let revision = durable.revision();
    durable.memory.declare_bad(commit, &error, revision);
    GuardRestored {
        commit: commit.to_owned(),
        error,
    }
}
