//! The guard of the agent's own update, as it is reported.

use crate::lifecycle::shared::Shared;
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::status::GuardStatus;

/// `None`: there is nothing to say of it yet, or this agent has none.
pub(crate) fn guard_status(l: &Shared) -> Option<GuardStatus> {
    let settings = l.run.guard.as_ref()?;
    let view = l.view()?;
    let report = if l.host_seen {
        l.host.guard.as_ref()
    } else {
        settings.report.as_ref()
    };
    let holds = report.and_then(|report| report.holds.clone());
    let proven = l.durable.proven.as_ref().map(|proven| proven.commit.as_str());
    let runs = view
        .containers
        .iter()
        .any(|container| container.service == GUARD_SERVICE && container.is_running());
    let heard_in_this_boot = report.is_some_and(|report| report.boot_id == l.run.boot_id);
    let reason = if view.managed {
        Some("the Supervisor is managed: its backend decides what runs".to_owned())
    } else if proven.is_none() {
        Some("no release has proved itself yet".to_owned())
    } else if let Some(problem) = l.arming.problem() {
        Some(format!("it could not be added: {problem}"))
    } else if !runs {
        Some("its container does not run".to_owned())
    } else if !heard_in_this_boot {
        Some("it has not reported since the device was booted".to_owned())
    } else if holds.as_deref() != proven {
        Some("it has not taken over the proven release yet".to_owned())
    } else {
        None
    };
    Some(GuardStatus {
        armed: reason.is_none(),
        reason,
        holds,
        trial: l.durable.guard.trial().map(|trial| trial.commit.clone()),
    })
}
