//! The guard of the agent's own update, as it is reported.

use crate::lifecycle::guard::standing::{Standing, reported, standing};
use crate::lifecycle::shared::Shared;
use baseos_interfaces::status::GuardStatus;

/// `None`: there is nothing to say of it yet, or this agent has none.
pub(crate) fn guard_status(l: &Shared) -> Option<GuardStatus> {
    let reason = reason(standing(l)?);
    Some(GuardStatus {
        armed: reason.is_none(),
        reason,
        holds: reported(l).and_then(|report| report.holds.clone()),
        trial: l.durable.guard.trial().map(|trial| trial.commit.clone()),
    })
}

/// Why it is not armed.
fn reason(standing: Standing<'_>) -> Option<String> {
    let reason = match standing {
        Standing::Armed => return None,
        Standing::Managed => "the Supervisor is managed: its backend decides what runs",
        Standing::NothingProven => "no release has proved itself yet",
        Standing::NotAdded(problem) => return Some(format!("it could not be added: {problem}")),
        Standing::DoesNotRun => "its container does not run",
        Standing::Silent => "it has not reported since the device was booted",
        Standing::HoldsAnother => "it has not taken over the proven release yet",
    };
    Some(reason.to_owned())
}
