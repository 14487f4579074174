//! Looks at everything that can be wrong on a node.

use crate::lifecycle::healing::act::{Finding, findings};
use crate::lifecycle::report::issues::Found;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::codes::IssueCode;

/// Where an operator finds what closes the Supervisor's port to the LAN.
pub(super) const CLOSE_PORT: &str =
    "close tcp/48484 to the LAN with the lines in docs/operate/devices.md#close-the-supervisors-port";

/// The issues that hold. `at_rest`: no services are being changed, so all of them should run.
pub(crate) fn examine(l: &Shared, at_rest: bool, now: Stamp) -> Found {
    let mut found = Found::new();
    if let Some(view) = l.view() {
        if !view.managed {
            found.insert(IssueCode::SupervisorApiExposed, Some(CLOSE_PORT.to_owned()));
        }
        if at_rest {
            services(l, &mut found, now);
        }
        if at_rest
            && !view.managed
            // One that is still at work may not have come to what it was handed.
            && let (Some(posted), Some(running)) = (l.durable.target.posted(), view.applied_release())
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
    if let Some(problem) = l.wall_clock(now).problem(now) {
        found.insert(IssueCode::ClockImplausible, Some(problem));
    }
    if let Some(problem) = &l.state_problem {
        found.insert(IssueCode::StateNotWritable, Some(problem.clone()));
    }
    if let Some(problem) = &l.run.checkpoint_problem {
        found.insert(IssueCode::CheckpointUnusable, Some(problem.clone()));
    }
    if let Some(problem) = l.lock_files.problem() {
        let detail = lock_files_overridden(l, !at_rest).unwrap_or_else(|| problem.to_owned());
        found.insert(IssueCode::LockFilesNotHeld, Some(detail));
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

/// Why no lock file is held while an update that an operator forces changes services: it is not held up by that.
pub(super) fn lock_files_overridden(l: &Shared, under_way: bool) -> Option<String> {
    let problem = l.lock_files.problem()?;
    (under_way && l.durable.policy().is_forced()).then(|| {
        format!("an operator's order lets the update go ahead despite the locks, which count again after it ({problem})")
    })
}

fn not_brought_back(why: &str) -> String {
    format!("cannot be brought back: {why}")
}

/// Services of the release that runs which do not, and what is done about them. The Supervisor goes on saying `applied`
/// (observed).
fn services(l: &Shared, found: &mut Found, now: Stamp) {
    let healing = &l.durable.healing;
    let mut stopped = Vec::new();
    for (name, finding) in findings(l) {
        if finding == Finding::TargetLost {
            found.insert(IssueCode::TargetLost, healing.refused().map(not_brought_back));
            break;
        }
        let tries = healing.tries(name, now.boot);
        let refused = healing.refused().filter(|_| finding == Finding::Absent);
        if let Some(why) = refused {
            stopped.push(format!("{name}: {finding}, {}", not_brought_back(why)));
            continue;
        }
        stopped.push(match tries {
            0 => format!("{name}: {finding}"),
            _ if healing.is_given_up(name, now.boot) => {
                format!("{name}: {finding}, not brought back in {tries} tries")
            }
            _ => format!("{name}: {finding}, try {tries} to bring it back"),
        });
    }
    if !stopped.is_empty() {
        found.insert(IssueCode::ServiceStopped, Some(stopped.join("; ")));
    }
    let loops: Vec<_> = healing.crash_loops(now.boot).map(|(name, _)| name).collect();
    if !loops.is_empty() {
        let detail = format!("{} exits again and again", loops.join(", "));
        found.insert(IssueCode::ServiceCrashLoop, Some(detail));
    }
}
