//! What commands print. Pure: facts in, text out.

use baseos_interfaces::Timestamp;
use baseos_interfaces::local::{Check, Doctor, LocalStatus, LockScope, Locks};
use baseos_interfaces::states::AgentState;
use baseos_interfaces::status::{Blocker, UpdateStatus};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Where commands print to.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut (dyn Write + Send),
    /// Complaints.
    pub err: &'a mut (dyn Write + Send),
    /// Whether results may have colours: only when a person reads them.
    pub colour: bool,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("colour", &self.colour)
            .finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// Standard output and error; colours when standard output is a terminal.
    pub fn standard(out: &'a mut io::Stdout, err: &'a mut io::Stderr) -> Self {
        let colour = out.is_terminal();
        Self { out, err, colour }
    }

    /// Prints a result. A reader that went away is no failure of the command.
    pub(super) fn print(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }

    /// Prints a complaint, one line.
    pub(super) fn complain(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", clean(text));
    }

    pub(super) fn paint(&self) -> Paint {
        Paint(self.colour)
    }
}

/// Colours, or not.
#[derive(Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    fn with(self, colour: u8, text: &str) -> String {
        if self.0 {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn good(self, text: &str) -> String {
        self.with(32, text)
    }

    fn odd(self, text: &str) -> String {
        self.with(33, text)
    }

    fn bad(self, text: &str) -> String {
        self.with(31, text)
    }
}

/// Text that others wrote, on one line and without what would steer a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {name:<11} {value}");
}

/// `status`: the sentence first, then the facts behind it.
pub(super) fn status(status: &LocalStatus, paint: Paint) -> String {
    let mut out = format!("{}\n\n", clean(&status.summary));
    let state = status.state.as_str();
    let state = match status.state {
        AgentState::Failed | AgentState::RollbackNeeded => paint.bad(state),
        AgentState::Unenrolled | AgentState::Waiting => paint.odd(state),
        _ => paint.good(state),
    };
    row(&mut out, "state", &state);
    row(
        &mut out,
        "node",
        &clean(status.node_id.as_deref().unwrap_or("not enrolled")),
    );
    row(
        &mut out,
        "running",
        &clean(status.running.as_deref().unwrap_or("unknown")),
    );
    row(&mut out, "update", &update(&status.update));
    for blocker in &status.update.blocked_by {
        row(&mut out, "blocked by", &paint.odd(&blocked(blocker)));
    }
    if let Some(error) = &status.update.error {
        let text = format!(
            "{} ({}, {})",
            clean(&error.message),
            clean(error.code.as_str()),
            at(error.at)
        );
        row(&mut out, "error", &paint.bad(&text));
        for evidence in &error.evidence {
            row(&mut out, "", &clean(evidence));
        }
    }
    let supervisor = &status.supervisor;
    let managed = match supervisor.managed {
        Some(true) => ", its backend gives it releases",
        Some(false) => ", takes releases from this agent",
        None => "",
    };
    let version = supervisor
        .version
        .as_deref()
        .map(|version| format!(" {version}"))
        .unwrap_or_default();
    let text = match &supervisor.error {
        None if supervisor.available => paint.good(&clean(&format!("available{version}{managed}"))),
        error => paint.bad(&clean(&format!(
            "not available: {}",
            error.as_deref().unwrap_or("unknown")
        ))),
    };
    row(&mut out, "supervisor", &text);
    row(&mut out, "cloudly", &cloudly(status, paint));
    for issue in &status.issues {
        let detail = issue
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        let text = format!(
            "{}{} (since {})",
            clean(issue.code.as_str()),
            clean(&detail),
            at(issue.since)
        );
        row(&mut out, "issue", &paint.odd(&text));
    }
    out
}

fn update(update: &UpdateStatus) -> String {
    let mut text = update.state.as_str().to_owned();
    if let Some(target) = &update.target {
        let _ = write!(text, " to {}", clean(target));
    }
    if let Some(percent) = update.progress_percent {
        let _ = write!(text, ", {percent} %");
    }
    match (update.attempt, update.max_attempts) {
        (Some(attempt), Some(max)) => drop(write!(text, ", attempt {attempt} of {max}")),
        (Some(attempt), None) => drop(write!(text, ", attempt {attempt}")),
        _ => {}
    }
    if let Some(since) = update.phase_since {
        let _ = write!(text, ", since {}", at(since));
    }
    text
}

fn blocked(blocker: &Blocker) -> String {
    let mut text = blocker.kind.as_str().to_owned();
    match (&blocker.holder, &blocker.reason) {
        (Some(holder), Some(reason)) => drop(write!(text, " ({}: {})", clean(holder), clean(reason))),
        (Some(one), None) | (None, Some(one)) => drop(write!(text, " ({})", clean(one))),
        (None, None) => {}
    }
    let _ = write!(text, " since {}", at(blocker.since));
    if let Some(expires) = blocker.expires_at {
        let _ = write!(text, ", until {} at the latest", at(expires));
    }
    text
}

fn cloudly(status: &LocalStatus, paint: Paint) -> String {
    let cloudly = &status.cloudly;
    let contact = cloudly
        .last_contact_at
        .map(|time| format!("last contact {}", at(time)));
    let contact = contact.unwrap_or_else(|| "no contact yet".to_owned());
    if cloudly.connected {
        return paint.good(&format!("connected, {contact}"));
    }
    let error = cloudly
        .error
        .as_deref()
        .map(|error| format!(": {}", clean(error)))
        .unwrap_or_default();
    let tries = match cloudly.failures {
        0 => String::new(),
        1 => ", 1 call failed".to_owned(),
        many => format!(", {many} calls failed in a row"),
    };
    paint.odd(&format!("not connected{error}{tries}, {contact}"))
}

/// `doctor`: a line a check, what to do about it below.
pub(super) fn doctor(doctor: &Doctor, paint: Paint) -> String {
    let width = doctor
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    doctor
        .checks
        .iter()
        .map(|check| one_check(check, width, paint))
        .collect()
}

fn one_check(check: &Check, width: usize, paint: Paint) -> String {
    let mark = if check.ok {
        paint.good("ok")
    } else {
        paint.bad("✗ ")
    };
    let mut text = format!("{mark} {:<width$}  {}\n", clean(&check.name), clean(&check.fact));
    if let Some(fix) = check.fix.as_deref().filter(|_| !check.ok) {
        let _ = writeln!(text, "   {:<width$}  → {}", "", clean(fix));
    }
    text
}

/// `locks`: a line a lock.
pub(super) fn locks(locks: &Locks, paint: Paint) -> String {
    let mut out = String::new();
    if locks.draining {
        out.push_str(&paint.odd("An update waits for these locks to end; no new ones are given."));
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
            clean(&lock.name),
            clean(&lock.owner),
            clean(&lock.reason),
            at(lock.since),
            lock.remaining_seconds
        );
    }
    for path in &locks.foreign {
        let _ = writeln!(
            out,
            "{} was made by somebody else; the agent leaves it alone",
            clean(path)
        );
    }
    if locks.locks.is_empty() && locks.foreign.is_empty() {
        out.push_str("No locks.\n");
    }
    out
}

#[cfg(test)]
mod tests;
