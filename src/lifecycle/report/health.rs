//! Looks at everything that can be wrong on a node.

use crate::lifecycle::report::issues::Found;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::codes::IssueCode;

/// The issues that hold. `at_rest`: no services are being changed, so all of them should run.
pub(crate) fn examine(l: &Shared, at_rest: bool, now: Stamp) -> Found {
    let mut found = Found::new();
    if let Some(view) = l.view() {
        if !view.managed {
            found.insert(IssueCode::SupervisorApiExposed, None);
        }
        if at_rest && let Some(stopped) = stopped_services(l) {
            found.insert(IssueCode::ServiceStopped, Some(stopped));
        }
        if at_rest
            && !view.managed
            && let (Some(posted), Some(running)) = (l.durable.target.posted(), view.release.as_deref())
            && posted != running
        {
            let detail = format!("{running} runs, which this agent did not hand over");
            found.insert(IssueCode::ForeignTarget, Some(detail));
        }
    }
    if let Some(off) = l.heartbeats.skew_seconds(now) {
        // Rounded, so that a drifting clock does not change the status with every heartbeat.
        let minutes = off.unsigned_abs() / 60;
        let side = if off > 0 { "ahead" } else { "behind" };
        found.insert(
            IssueCode::ClockSkew,
            Some(format!("the device's clock is {minutes} min {side}")),
        );
    }
    if let Some(problem) = &l.state_problem {
        found.insert(IssueCode::StateNotWritable, Some(problem.clone()));
    }
    if let Some(problem) = l.lock_files.problem() {
        found.insert(IssueCode::LockFilesNotHeld, Some(problem.to_owned()));
    }
    if !l.run.settings_problems.is_empty() {
        let detail = l.run.settings_problems.join("; ");
        found.insert(IssueCode::SettingsInvalid, Some(detail));
    }
    if let Some(problem) = &l.host.lock_dir_problem {
        found.insert(IssueCode::LockDirNotWritable, Some(problem.clone()));
    }
    if l.host.free_bytes.is_some_and(|free| free < l.run.reserve_bytes) {
        found.insert(IssueCode::DiskLow, None);
    }
    if l.heartbeats.clone_suspected() {
        found.insert(IssueCode::CloneSuspected, None);
    }
    found
}

/// Services of the release that runs which have no running container. The Supervisor does not heal: a container
/// stopped by hand stays stopped while it says `applied` (observed).
fn stopped_services(l: &Shared) -> Option<String> {
    let view = l.view()?;
    let proven = l.durable.proven.as_ref()?;
    if view.release.as_ref() != Some(&proven.commit) {
        return None;
    }
    let running = |service: &str| {
        view.containers
            .iter()
            .any(|container| container.service == service && container.is_running())
    };
    let stopped: Vec<_> = proven
        .services
        .keys()
        .filter(|service| !running(service))
        .map(String::as_str)
        .collect();
    (!stopped.is_empty()).then(|| stopped.join(", "))
}
