//! What the guard decides. Pure: orders, looks and time are arguments, and all that it has to remember is its report.

use crate::lifecycle::guard::files::{Orders, Report, Restored, Watched};
use crate::lifecycle::time::{Millis, Stamp};
use std::time::Duration;

/// Boots of the device that a new agent may need to prove itself; then it is taken for the cause of them.
const MOST_BOOTS: u32 = 3;
/// Containers named as evidence.
const EVIDENCE: usize = 8;

/// What a look at the Supervisor brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nobody looked.
    Not,
    /// It did not answer.
    Silent,
    /// It asks for a key: a backend gives it its target.
    Managed,
    /// Its containers.
    Seen(Vec<Row>),
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) service: String,
    pub(super) image_id: u64,
    pub(super) container_id: String,
    pub(super) status: String,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for orders.
    Rest,
    /// Look at the Supervisor.
    Look,
    /// Post the proven target.
    Post,
    /// Post the proven target if the Supervisor has lost it again: nobody else would.
    Keep,
}

/// Takes up what an earlier guard has written. A new agent's time begins anew with each boot of the device.
pub(super) fn begin(mut report: Report, version: String, boot_id: String, now: Stamp) -> Report {
    let rebooted = report.boot_id != boot_id;
    if let Some(watched) = report.watched.as_mut().filter(|_| rebooted) {
        watched.silent_since = None;
        if watched.replaced_since.is_some() {
            watched.boots += 1;
            watched.replaced_since = Some(now.boot);
        }
    }
    Report {
        version,
        boot_id,
        ..report
    }
}

/// Follows the agent's orders. False: they do not count yet, and are to be looked at again. A trial goes on until they say
/// that it is over, and what is held does not change meanwhile. A decision to put a release back is final, and nothing
/// counts until the agent that came back has taken note of it.
pub(super) fn take_orders(report: &mut Report, orders: Orders) -> bool {
    if let Some(restored) = report.restored.as_mut().filter(|restored| !restored.noted) {
        restored.noted = restored.accepted && is_noted(restored.number, &orders);
        if !restored.noted {
            return false;
        }
    }
    let ordered = orders.trial.filter(|trial| {
        let restored = report.restored.as_ref();
        restored.is_none_or(|restored| (restored.number, &restored.commit) != (trial.number, &trial.commit))
    });
    if let Some(watched) = &report.watched {
        let over = orders.over.as_ref().is_some_and(|over| {
            over.number > watched.trial.number
                || (over.number, &over.commit) == (watched.trial.number, &watched.trial.commit)
        });
        if !over {
            return false;
        }
    }
    report.held = orders.proven;
    report.watched = ordered.map(|trial| Watched {
        trial,
        replaced_since: None,
        silent_since: None,
        boots: 0,
    });
    true
}

/// Whether the agent has done with a trial: it has taken note of the guard's report, has given the release up without one
/// (the report may be lost), or is at a later trial. That the release has proved itself comes too late.
fn is_noted(number: u64, orders: &Orders) -> bool {
    let over = orders.over.as_ref();
    orders.noted >= number
        || over.is_some_and(|over| over.number > number || (over.number == number && !over.proved))
        || orders.trial.as_ref().is_some_and(|trial| trial.number > number)
}

/// Takes in a look at the Supervisor and the time. The new agent's time runs while no container of the old agent is
/// left; during the pull the old one still runs. While the Supervisor does not answer, the time stands still and nothing
/// is decided: an agent cannot prove itself without it.
pub(super) fn see(report: &mut Report, look: &Look, now: Stamp) {
    let rows = match look {
        Look::Not => return,
        Look::Silent => {
            if let Some(watched) = &mut report.watched {
                watched.silent_since.get_or_insert(now.boot);
            }
            return;
        }
        Look::Managed => {
            report.managed = true;
            return;
        }
        Look::Seen(rows) => rows,
    };
    report.managed = false;
    if let Some(watched) = &mut report.watched {
        let silence = watched.silent_since.take().map(|since| now.boot.since(since));
        if is_replaced(watched, rows) {
            let since = watched
                .replaced_since
                .map(|since| since + silence.unwrap_or_default());
            watched.replaced_since = Some(since.unwrap_or(now.boot));
        } else {
            watched.replaced_since = None;
            watched.boots = 0;
        }
    }
    if let (Some(watched), Some(held)) = (&report.watched, &report.held)
        && !is_restoring(report)
        && let Some(why) = overdue(watched, now.boot)
    {
        report.restored = Some(Restored {
            number: watched.trial.number,
            commit: watched.trial.commit.clone(),
            to: held.commit.clone(),
            evidence: std::iter::once(why).chain(evidence(watched, rows)).collect(),
            at: now.wall,
            accepted: false,
            noted: false,
        });
    }
}

/// The Supervisor has the proven target.
pub(super) fn accepted(report: &mut Report) {
    if let Some(restored) = &mut report.restored {
        restored.accepted = true;
    }
    report.watched = None;
}

pub(super) fn next(report: &Report) -> Next {
    if report.held.is_none() {
        return Next::Rest;
    }
    let restored = report.restored.as_ref().filter(|restored| !restored.noted);
    match (restored, &report.watched) {
        (Some(_), _) if report.managed => Next::Look,
        (Some(restored), _) if restored.accepted => Next::Keep,
        (Some(_), _) => Next::Post,
        (None, Some(_)) => Next::Look,
        (None, None) => Next::Rest,
    }
}

fn is_restoring(report: &Report) -> bool {
    report
        .restored
        .as_ref()
        .is_some_and(|restored| !restored.accepted)
}

/// Whether no container of the old agent is left.
fn is_replaced(watched: &Watched, rows: &[Row]) -> bool {
    let trial = &watched.trial;
    !rows.iter().any(|row| {
        row.service == trial.agent_service
            && (row.image_id != trial.image_id || trial.old_container.as_ref() == Some(&row.container_id))
    })
}

/// Why the new agent has had its time, if it has.
fn overdue(watched: &Watched, now: Millis) -> Option<String> {
    let since = watched.replaced_since?;
    let budget = Duration::from_secs(watched.trial.budget_seconds.into());
    if watched.boots >= MOST_BOOTS {
        return Some(format!(
            "the device was booted {} times without a sign of the new agent",
            watched.boots
        ));
    }
    (now.since(since) >= budget).then(|| {
        format!(
            "no sign of the new agent for {} s after the old one was replaced",
            budget.as_secs()
        )
    })
}

fn evidence(watched: &Watched, rows: &[Row]) -> Vec<String> {
    let agent = &watched.trial.agent_service;
    let mut own = rows.iter().filter(|row| row.service == *agent).peekable();
    if own.peek().is_none() {
        return vec![format!("{agent}: no container")];
    }
    own.take(EVIDENCE)
        .map(|row| format!("{agent}: {}", row.status))
        .collect()
}

#[cfg(test)]
mod tests;
