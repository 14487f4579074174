//! `cloudly node show`: one sentence that says what a node does and what blocks it, then the facts.

use super::render::{self, plain, short, time, time_or_dash};
use baseos_interfaces::admin::{NodeRecord, PresenceState};
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, BlockerKind, NodeStatus, UpdateStatus};
use std::error::Error;

/// What the node does and what blocks it.
pub(crate) fn sentence(node: &NodeRecord) -> String {
    let name = plain(&node.name);
    if node.lifecycle == "removed" {
        return format!("{name} was removed; its heartbeats are refused.");
    }
    if node.lifecycle == "suspended" {
        return format!("{name} is suspended; its heartbeats are refused until it is restored.");
    }
    if node.clone_suspected {
        return format!(
            "{name} seems to run twice: nothing is sent to it until you find the second one and run `cloudly node clear-clone`."
        );
    }
    if node.approval != Approval::Approved {
        let reason = match node.approval_reason.as_deref() {
            Some("possibleReplacement") => ": another node has the same hardware",
            Some("approvalRequired") => ": its join token asks for it",
            _ => "",
        };
        return format!("{name} waits for your approval{reason}.");
    }
    let Some(status) = &node.status else {
        return format!("{name} is enrolled and has not reported its status yet.");
    };
    let doing = format!("{}{}", doing(node, status), held_up(&status.update));
    match node.presence {
        PresenceState::Online | PresenceState::Unknown => format!("{name} {doing}."),
        PresenceState::Late => format!("{name} is late; when last heard from, it {doing}."),
        PresenceState::Offline => {
            format!(
                "{name} is offline since {}; then it {doing}.",
                time_or_dash(node.last_seen_at)
            )
        }
    }
}

fn doing(node: &NodeRecord, status: &NodeStatus) -> String {
    let update = &status.update;
    let running = status.release.running.as_deref();
    let target = short(update.target.as_deref());
    let why = update
        .error
        .as_ref()
        .map(|error| format!(": {}", plain(&error.message)))
        .unwrap_or_default();
    match update.state {
        UpdateState::Staged => format!("checks release {target}"),
        UpdateState::Waiting => {
            let reasons = blockers(update).unwrap_or_else(|| "its turn".to_owned());
            format!("is ready to update to {target} and waits for {reasons}")
        }
        UpdateState::Applying => match update.progress_percent {
            Some(percent) => format!("applies release {target} ({percent} %)"),
            None => format!("applies release {target}"),
        },
        UpdateState::Rebooting => format!("restarts to apply release {target}"),
        UpdateState::Verifying => format!("runs release {target} and watches whether it stays healthy"),
        UpdateState::Failed => format!("gave up on release {target}{why}; it runs {}", known(running)),
        UpdateState::RollbackNeeded => {
            format!("found release {target} bad{why}; it goes back or waits for you")
        }
        UpdateState::RolledBack => format!("went back from release {target} to {}{why}", known(running)),
        _ => match (node.desired_commit.as_deref(), running) {
            (None, None) => "runs no release and is not asked to".to_owned(),
            (None, Some(_)) => format!("runs release {}; nothing else is asked of it", short(running)),
            (Some(wanted), _) if Some(wanted) == running => {
                format!("runs release {}, as desired; nothing to do", short(running))
            }
            (Some(wanted), _) => {
                format!(
                    "has not taken up release {} yet; it runs {}",
                    short(Some(wanted)),
                    known(running)
                )
            }
        },
    }
}

/// What holds an update back that is not simply waiting; that one says so itself.
fn held_up(update: &UpdateStatus) -> String {
    blockers(update)
        .filter(|_| update.state != UpdateState::Waiting)
        .map(|reasons| format!("; it waits for {reasons}"))
        .unwrap_or_default()
}

fn blockers(update: &UpdateStatus) -> Option<String> {
    let reasons: Vec<_> = update.blocked_by.iter().map(blocker).collect();
    (!reasons.is_empty()).then(|| reasons.join(", and for "))
}

/// A commit within a sentence.
fn known(commit: Option<&str>) -> String {
    commit.map_or_else(|| "no known release".to_owned(), |commit| short(Some(commit)))
}

fn blocker(blocker: &Blocker) -> String {
    let holder = blocker.holder.as_deref().map(plain);
    let mut text = match blocker.kind {
        BlockerKind::LocalLock => format!("the update lock of {}", holder.as_deref().unwrap_or("a service")),
        BlockerKind::Window => "its maintenance window".to_owned(),
        BlockerKind::Deferred => "the end of a deferral at the device".to_owned(),
        BlockerKind::Approval => "approval at the device".to_owned(),
        BlockerKind::RolloutSlot => "its turn in the rollout".to_owned(),
        BlockerKind::DiskSpace => "disk space".to_owned(),
        BlockerKind::HostUpdate => "the host OS update to end".to_owned(),
        BlockerKind::SupervisorUnavailable => "the Supervisor to answer".to_owned(),
        BlockerKind::RetryBackoff => "its next attempt".to_owned(),
        BlockerKind::StateNotWritable => "its state to become writable".to_owned(),
        BlockerKind::Unknown => "something this Cloudly does not know".to_owned(),
    };
    if let Some(reason) = &blocker.reason {
        text.push_str(&format!(" ({})", plain(reason)));
    }
    if let Some(until) = blocker.expires_at {
        text.push_str(&format!(", until {} at the latest", time(until)));
    }
    text
}

/// What came of the last update.
fn outcome(status: &NodeStatus) -> String {
    let update = &status.update;
    let target = short(update.target.as_deref());
    match update.state {
        UpdateState::Idle if update.target.is_none() => "no update yet".to_owned(),
        state => {
            let since = update
                .phase_since
                .map(|at| format!(" since {}", time(at)))
                .unwrap_or_default();
            let error = update
                .error
                .as_ref()
                .map(|e| format!(", {}: {}", plain(&e.code), plain(&e.message)));
            format!("{target} {state}{since}{}", error.unwrap_or_default())
        }
    }
}

/// Prints a node.
pub(crate) fn node(node: &NodeRecord) -> Result<(), Box<dyn Error>> {
    let mut rows: Vec<(&str, String)> = vec![
        ("id", node.id.clone()),
        ("lifecycle", node.lifecycle.clone()),
        ("presence", render::presence(node.presence).to_owned()),
        ("last seen", time_or_dash(node.last_seen_at)),
        ("enrolled", time(node.enrolled_at)),
        (
            "desired",
            format!(
                "{} (revision {})",
                short(node.desired_commit.as_deref()),
                node.desired_revision
            ),
        ),
        ("works on", format!("revision {}", node.observed_revision)),
    ];
    let facts = &node.facts;
    rows.push(("agent", facts.agent_version.clone()));
    if !node.labels.is_empty() {
        let labels: Vec<_> = node
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        rows.push(("labels", labels.join(" ")));
    }
    if let Some(status) = &node.status {
        let version = status
            .release
            .version
            .as_deref()
            .map(|v| format!(" ({v})"))
            .unwrap_or_default();
        rows.push((
            "runs",
            format!("{}{version}", short(status.release.running.as_deref())),
        ));
        rows.push(("last update", outcome(status)));
        let os = [&status.os.name, &status.os.version, &status.os.variant];
        let os: Vec<_> = os.into_iter().flatten().map(String::as_str).collect();
        rows.push((
            "host OS",
            if os.is_empty() {
                render::dash()
            } else {
                os.join(" ")
            },
        ));
        let supervisor = match (&status.supervisor.version, status.supervisor.available) {
            (Some(version), true) => version.clone(),
            (_, true) => "available".to_owned(),
            (_, false) => format!(
                "not available: {}",
                status.supervisor.error.as_deref().unwrap_or("unknown")
            ),
        };
        rows.push(("Supervisor", supervisor));
        let addresses = &status.network.ip_addresses;
        rows.push((
            "addresses",
            if addresses.is_empty() {
                render::dash()
            } else {
                addresses.join(" ")
            },
        ));
        for (name, service) in &status.release.services {
            rows.push(("service", format!("{name}: {}", service.status)));
        }
        for issue in &status.health.issues {
            let detail = issue
                .detail
                .as_deref()
                .map(|detail| format!(", {detail}"))
                .unwrap_or_default();
            rows.push((
                "issue",
                format!("{} since {}{detail}", issue.code, time(issue.since)),
            ));
        }
    }
    render::line(&sentence(node))?;
    render::line("")?;
    rows.iter()
        .try_for_each(|(name, value)| render::line(&format!("  {name:<12} {}", plain(value))))
}

#[cfg(test)]
mod tests {
    use super::held_up;
    use baseos_interfaces::status::UpdateStatus;
    use serde_json::json;

    fn update(state: &str) -> UpdateStatus {
        serde_json::from_value(json!({
            "kind": "app", "state": state, "target": "c0ffee1", "attempt": 1, "maxAttempts": 3,
            "blockedBy": [{ "kind": "supervisorUnavailable", "since": "2026-01-01T00:00:00Z" }],
        }))
        .unwrap()
    }

    #[test]
    fn what_blocks_is_said_in_every_state_and_once() {
        for state in ["staged", "applying", "rollback-needed", "idle"] {
            assert_eq!(
                held_up(&update(state)),
                "; it waits for the Supervisor to answer",
                "{state}"
            );
        }
        assert_eq!(held_up(&update("waiting")), "");
    }
}
