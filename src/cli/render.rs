//! The text output of commands, as pure functions.

use super::console::Style;
use baseos_interfaces::local::{Check, Doctor, LocalStatus, LockScope, Locks};
use baseos_interfaces::states::AgentState;
use baseos_interfaces::status::{Blocker, ServiceStatus, UnusedImage, UpdateStatus};
use baseos_interfaces::terminal::{plain, time};
use std::fmt::Write as _;

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "  {name:<11} {value}");
}

/// `status`: the summary sentence, then one row per fact.
pub(super) fn status(status: &LocalStatus, style: Style) -> String {
    let mut out = format!("{}\n\n", plain(&status.summary));
    let state = status.state.as_str();
    let state = match status.state {
        AgentState::Failed | AgentState::RollbackNeeded => style.bad(state),
        AgentState::Unenrolled | AgentState::Waiting => style.warning(state),
        _ => style.good(state),
    };
    row(&mut out, "state", &state);
    row(
        &mut out,
        "node",
        &plain(status.node_id.as_deref().unwrap_or(match status.state {
            AgentState::Unenrolled | AgentState::Registering => "not enrolled",
            _ => "enrolled; its id is not known",
        })),
    );
    row(
        &mut out,
        "running",
        &plain(status.running.as_deref().unwrap_or("not known at the moment")),
    );
    row(&mut out, "update", &update(&status.update));
    for blocker in &status.update.blocked_by {
        row(&mut out, "blocked by", &style.warning(&blocked_by(blocker)));
    }
    if let Some(error) = &status.update.error {
        let text = format!(
            "{} ({}, {})",
            plain(&error.message),
            plain(error.code.as_str()),
            time(error.at)
        );
        row(&mut out, "error", &style.bad(&text));
        // What the message says already is not said again.
        let more = |evidence: &&String| !error.message.contains(evidence.as_str());
        for evidence in error.evidence.iter().filter(more) {
            row(&mut out, "", &plain(evidence));
        }
    }
    let supervisor = &status.supervisor;
    let managed = match supervisor.managed {
        Some(true) => ", gets releases from its backend",
        Some(false) => ", gets releases from this agent",
        None => "",
    };
    let version = supervisor
        .version
        .as_deref()
        .map(|version| format!(" {version}"))
        .unwrap_or_default();
    let text = match &supervisor.error {
        _ if supervisor.is_unknown() => "not looked at yet".to_owned(),
        None if supervisor.available == Some(true) => {
            style.good(&plain(&format!("available{version}{managed}")))
        }
        error => style.bad(&plain(&format!(
            "not available: {}",
            error.as_deref().unwrap_or("unknown")
        ))),
    };
    row(&mut out, "supervisor", &text);
    row(&mut out, "cloudly", &cloudly(status, style));
    for service in &status.stopped_by_operator {
        let text = format!("{}: {}", plain(service), ServiceStatus::STOPPED);
        row(&mut out, "service", &style.warning(&text));
    }
    for image in &status.unused_images {
        row(&mut out, "unused", &plain(&image.in_words()));
    }
    if !status.unused_images.is_empty() {
        row(&mut out, "", UnusedImage::REMEDY);
    }
    for issue in &status.issues {
        let detail = issue
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        let text = format!(
            "{}{} (since {})",
            plain(issue.code.as_str()),
            plain(&detail),
            time(issue.since)
        );
        row(&mut out, "issue", &style.warning(&text));
    }
    out
}

fn update(update: &UpdateStatus) -> String {
    let state = update.state.as_str();
    let mut text = match &update.target {
        Some(target) => format!("to {} {state}", plain(target)),
        None => state.to_owned(),
    };
    if let Some(percent) = update.progress_percent {
        let _ = write!(text, ", {percent} %");
    }
    match (update.attempt, update.max_attempts) {
        (Some(attempt), Some(max)) => drop(write!(text, ", attempt {attempt} of {max}")),
        (Some(attempt), None) => drop(write!(text, ", attempt {attempt}")),
        _ => {}
    }
    if let Some(since) = update.phase_since {
        let _ = write!(text, ", since {}", time(since));
    }
    text
}

fn blocked_by(blocker: &Blocker) -> String {
    let mut text = blocker.kind.as_str().to_owned();
    match (&blocker.holder, &blocker.reason) {
        (Some(holder), Some(reason)) => drop(write!(text, " ({}: {})", plain(holder), plain(reason))),
        (Some(detail), None) | (None, Some(detail)) => drop(write!(text, " ({})", plain(detail))),
        (None, None) => {}
    }
    let _ = write!(text, " since {}", time(blocker.since));
    if let Some(expires) = blocker.expires_at {
        let _ = write!(text, ", until {} at the latest", time(expires));
    }
    text
}

fn cloudly(status: &LocalStatus, style: Style) -> String {
    let cloudly = &status.cloudly;
    let contact = cloudly
        .last_contact_at
        .map(|at| format!("last contact {}", time(at)));
    let contact = contact.unwrap_or_else(|| "no contact yet".to_owned());
    if cloudly.connected {
        return style.good(&format!("connected, {contact}"));
    }
    let error = cloudly
        .error
        .as_deref()
        .map(|error| format!(": {}", plain(error)))
        .unwrap_or_default();
    let failures = match cloudly.failures {
        0 => String::new(),
        1 => ", 1 call failed".to_owned(),
        count => format!(", {count} calls failed in a row"),
    };
    style.warning(&format!("not connected{error}{failures}, {contact}"))
}

/// `doctor`: one line per check, with the fix of a failed one or of a warning below it.
pub(super) fn doctor(doctor: &Doctor, style: Style) -> String {
    let width = doctor
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    doctor
        .checks
        .iter()
        .map(|check| check_line(check, width, style))
        .collect()
}

fn check_line(check: &Check, width: usize, style: Style) -> String {
    let mark = match (check.ok, check.warning) {
        (true, false) => style.good("ok"),
        (true, true) => style.warning("! "),
        (false, _) => style.bad("✗ "),
    };
    let mut text = format!("{mark} {:<width$}  {}\n", plain(&check.name), plain(&check.fact));
    if let Some(fix) = check.fix.as_deref().filter(|_| !check.ok || check.warning) {
        let _ = writeln!(text, "   {:<width$}  → {}", "", plain(fix));
    }
    text
}

/// `locks`: one line per lock.
pub(super) fn locks(locks: &Locks, style: Style) -> String {
    let mut out = String::new();
    if locks.draining {
        let text = if locks.forced {
            "An update goes ahead despite locks, by an operator's order; no new ones are granted."
        } else {
            "An update waits for these locks to end; no new ones are granted."
        };
        out.push_str(&style.warning(text));
        out.push('\n');
    }
    for lock in &locks.locks {
        let scope = match lock.scope {
            LockScope::App => "app",
            LockScope::HostOs => "hostOs",
            LockScope::Reboot => "reboot",
        };
        let _ = writeln!(
            out,
            "{} ({scope}) held by {}: {}; since {}, {} s left",
            plain(&lock.name),
            plain(&lock.owner),
            plain(&lock.reason),
            time(lock.since),
            lock.remaining_seconds
        );
    }
    for path in &locks.foreign {
        let _ = writeln!(
            out,
            "{} was created by another program; the agent does not touch it",
            plain(path)
        );
    }
    for lock in &locks.services {
        let service = match &lock.service {
            Some(service) => format!("service {}", plain(service)),
            None => "a service".to_owned(),
        };
        let _ = writeln!(
            out,
            "{service} is locked by its own lock file, which the Supervisor met, not by a lease of the agent; since {}",
            time(lock.since)
        );
    }
    if locks.locks.is_empty() && locks.foreign.is_empty() && locks.services.is_empty() {
        out.push_str("No locks.\n");
    }
    out
}

#[cfg(test)]
mod tests;
