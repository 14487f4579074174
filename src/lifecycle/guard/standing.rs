//! How the guard stands: whether it runs and holds the proven release, and what is missing.

use crate::lifecycle::facts::GuardFacts;
use crate::lifecycle::shared::Shared;
use baseos_interfaces::rules::GUARD_SERVICE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    Armed,
    /// The Supervisor's backend decides what runs.
    Managed,
    /// There is nothing that it could hold yet.
    NothingProven,
    /// The last try to add it failed.
    NotAdded(&'a str),
    /// Its container is missing or does not run.
    DoesNotRun,
    /// It has not reported in this boot.
    Silent,
    /// It holds another release than the proven one, or none.
    HoldsAnother,
}

/// What the guard last reported. `None`: nothing.
pub(crate) fn reported(l: &Shared) -> Option<&GuardFacts> {
    if l.host_seen {
        l.host.guard.as_ref()
    } else {
        l.run.guard.as_ref()?.report.as_ref()
    }
}

/// `None`: there is nothing to say of it yet, or this agent has none.
pub(crate) fn standing(l: &Shared) -> Option<Standing<'_>> {
    l.run.guard.as_ref()?;
    let view = l.view()?;
    let proven = l.durable.proven.as_ref();
    let report = reported(l);
    let holds = report.and_then(|report| report.holds.as_ref());
    let mut containers = view.containers.iter();
    Some(if view.managed {
        Standing::Managed
    } else if proven.is_none() {
        Standing::NothingProven
    } else if let Some(problem) = l.arming.problem() {
        Standing::NotAdded(problem)
    } else if !containers.any(|container| container.service == GUARD_SERVICE && container.is_running()) {
        Standing::DoesNotRun
    } else if report.is_none_or(|report| report.boot_id != l.run.boot_id) {
        Standing::Silent
    } else if holds != proven.map(|proven| &proven.commit) {
        Standing::HoldsAnother
    } else {
        Standing::Armed
    })
}
