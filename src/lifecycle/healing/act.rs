//! What is done about services that have stopped.

use super::record::Phase;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::SupervisorAnswer;
use crate::lifecycle::facts::{AppState, SupervisorError};
use crate::lifecycle::guard::trial;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::supervisor_target::builder::{self, History};
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::Timer;
use baseos_interfaces::codes::EventKind;
use std::fmt;

/// What is wrong with a service of the release that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It has no container.
    Absent,
    /// Its container has exited and is not started again.
    Exited,
    /// The Supervisor has no target any more.
    TargetLost,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no container",
            Self::Exited => "exited",
            Self::TargetLost => "the Supervisor has lost its target",
        })
    }
}

/// The services of the release that proved itself which do not run and should, while nothing else is under way.
pub(crate) fn findings(l: &Shared) -> impl Iterator<Item = (&str, Finding)> {
    let view = l.view().filter(|view| view.app_state == AppState::Applied);
    let proven = l
        .durable
        .proven
        .as_ref()
        .filter(|_| l.durable.superseded.is_none());
    view.zip(proven)
        .into_iter()
        .flat_map(|(view, proven)| proven.services.iter().map(move |service| (view, proven, service)))
        .filter_map(|(view, proven, (name, service))| {
            if view.has_lost_target() && l.durable.target.posted() == Some(&proven.commit) {
                return Some((name.as_str(), Finding::TargetLost));
            }
            if view.release.as_ref() != Some(&proven.commit) || *name == l.run.own_service {
                return None;
            }
            let mut containers = view
                .containers
                .iter()
                .filter(|container| container.service == *name)
                .peekable();
            if containers.peek().is_none() {
                return Some((name.as_str(), Finding::Absent));
            }
            // Other states than these two are passed through.
            let all_exited = containers.all(|container| {
                container.status.eq_ignore_ascii_case("exited") && !service.is_done(&container.status)
            });
            all_exited.then_some((name.as_str(), Finding::Exited))
        })
        .filter(|(name, finding)| {
            *finding == Finding::TargetLost || !l.durable.healing.was_stopped_on_purpose(name)
        })
}

/// Heals what is due, at the end of every step. `at_rest`: nothing else changes services.
pub(crate) fn follow(l: &mut Shared, at_rest: bool, cx: &mut Context) {
    see_unsure(l, cx.now.boot);
    if !at_rest || l.stopping {
        stand_back(l);
        return;
    }
    let now = cx.now.boot;
    let found: Vec<_> = findings(l)
        .map(|(name, finding)| (name.to_owned(), finding))
        .collect();
    if found.is_empty() && l.durable.healing.refused.is_some() {
        *l.durable.healing.refused = None;
    }
    let healing = &l.durable.healing;
    let quiet = healing.crash_loops(now).map(|(_, quiet)| quiet).min();
    if found.is_empty() && healing.stopped_since.is_empty() && *healing.phase == Phase::Resting {
        return rearm(l, quiet);
    }
    let healing = &mut l.durable.healing;
    let known = |name: &String| healing.stopped_since.contains_key(name);
    if found.len() != healing.stopped_since.len() || !found.iter().all(|(name, _)| known(name)) {
        // Operators are to hear of it before the next regular heartbeat.
        l.heartbeats.urge();
    }
    healing
        .stopped_since
        .retain(|service, _| found.iter().any(|(name, _)| name == service));
    for (name, _) in &found {
        healing.stopped_since.entry(name.clone()).or_insert(now);
    }
    if *healing.phase == Phase::MayPost {
        *healing.phase = Phase::Resting;
        if may_act(l, now) {
            post_again(l, &found, cx);
        }
        if *l.durable.healing.phase != Phase::Resting {
            return;
        }
    }
    let policy = l.durable.policy();
    let managed = l.view().is_some_and(|view| view.managed);
    let due = |name: &str| {
        let since = l.durable.healing.stopped_since.get(name).copied().unwrap_or(now);
        l.durable.healing.due(name, since, now)
    };
    let next = found
        .iter()
        .filter(|(_, finding)| match finding {
            Finding::Exited => policy.restarts,
            Finding::Absent | Finding::TargetLost => policy.reposts && !managed,
        })
        .map(|(name, finding)| (due(name), name, *finding))
        .min_by_key(|(at, ..)| *at);
    match next {
        Some((at, name, finding)) if at <= now && may_act(l, now) => begin(l, name, finding, cx),
        // What is in the way says so itself when it is gone.
        Some((at, ..)) if at > now => rearm(l, Some(quiet.map_or(at, |quiet| quiet.min(at)))),
        _ => rearm(l, quiet),
    }
}

/// Finds out whether a stop whose outcome is not known has happened.
fn see_unsure(l: &mut Shared, now: Millis) {
    if !l.durable.healing.is_unsure() {
        return;
    }
    let view = l.supervisor.as_ref().and_then(|seen| seen.as_ref().ok());
    if let Some(view) = view {
        l.durable.healing.see_unsure(&view.containers, now);
    }
}

/// Nothing is done beside a lease, a lock, a command, or what is under way already.
fn may_act(l: &Shared, now: Millis) -> bool {
    *l.durable.healing.phase == Phase::Resting
        && l.state_problem.is_none()
        && !l.heartbeats.clone_suspected()
        && !l.durable.commands.is_busy()
        && l.host.foreign_locks.is_empty()
        && l.durable.leases.iter().all(|lease| lease.until <= now)
}

fn begin(l: &mut Shared, name: &str, finding: Finding, cx: &mut Context) {
    match finding {
        Finding::Absent | Finding::TargetLost => {
            let op = l.in_flight.ask_supervisor(SupervisorCall::Inspect, cx);
            *l.durable.healing.phase = Phase::Looking(op);
        }
        Finding::Exited => {
            let Some(app_id) = l.durable.target.app_id().or(l.run.app_id) else {
                return;
            };
            tell(l, &[(name.to_owned(), finding)], "start", cx);
            let service = name.to_owned();
            let call = SupervisorCall::StartService { app_id, service };
            let op = l.in_flight.ask_supervisor(call, cx);
            *l.durable.healing.phase = Phase::Acting(op);
        }
    }
}

/// Hands the Supervisor the same target again: it makes what is missing and leaves the rest alone (observed).
fn post_again(l: &mut Shared, found: &[(String, Finding)], cx: &mut Context) {
    let found: Vec<_> = found
        .iter()
        .filter(|(_, finding)| *finding != Finding::Exited)
        .cloned()
        .collect();
    let Some(release) = l.durable.proven.clone().filter(|_| !found.is_empty()) else {
        return;
    };
    let Some(view) = l.view().cloned() else {
        return;
    };
    let own_service = l.run.own_service.clone();
    match builder::plan(&mut l.durable.target, &release, History::Proven, &own_service) {
        Ok(target) => {
            *l.durable.healing.refused = None;
            tell(l, &found, "post", cx);
            let target = Box::new(trial::hand_over(l, &release, target, &view, cx.now.boot));
            let call = SupervisorCall::ApplyTarget { target, force: false };
            let op = l.in_flight.ask_supervisor(call, cx);
            *l.durable.healing.phase = Phase::Acting(op);
        }
        Err(refusal) => {
            let services = found.iter().map(|(name, _)| name.as_str());
            l.durable
                .healing
                .refuse(services, refusal.to_string(), cx.now.boot);
            l.heartbeats.urge();
        }
    }
}

/// Counts a try for each of these services, and tells Cloudly.
fn tell(l: &mut Shared, found: &[(String, Finding)], action: &str, cx: &Context) {
    for (name, finding) in found {
        let attempt = l.durable.healing.count(name, cx.now.boot, cx.entropy(2));
        let data = serde_json::json!({
            "service": name, "found": finding.to_string(), "action": action, "attempt": attempt,
        });
        l.record_event(cx.now, EventKind::ServiceHealing, data);
    }
    l.heartbeats.urge();
}

/// The Supervisor answered, or could not be asked.
pub(crate) fn answered(
    l: &mut Shared,
    op: OpId,
    answer: &Result<SupervisorAnswer, SupervisorError>,
    now: Stamp,
) {
    match *l.durable.healing.phase {
        Phase::Looking(mine) if mine == op => {
            let mut phase = Phase::Resting;
            if let Ok(SupervisorAnswer::Inspected(inspection)) = answer {
                l.durable.target.adopt(inspection, &l.run);
                let commit = l.durable.proven.as_ref().map(|proven| proven.commit.as_str());
                let ours = commit.is_some() && l.durable.target.targeted(inspection) == commit;
                if ours || inspection.apps.is_empty() {
                    phase = Phase::MayPost;
                }
            }
            *l.durable.healing.phase = phase;
            if phase == Phase::Resting {
                // Not at once again: neither after a failure nor beside somebody else's target.
                l.durable.healing.count_all(now.boot, now.entropy);
            }
        }
        Phase::Acting(mine) if mine == op => {
            // It gets its time to show.
            let healing = &mut l.durable.healing;
            *healing.phase = Phase::Resting;
            healing.stopped_since.clear();
        }
        _ => {}
    }
}

/// A service's process ended by itself: a look does not show it when the engine starts it again.
pub(crate) fn exited(l: &mut Shared, service: &str, now: Stamp) {
    let proven = l.durable.proven.as_ref();
    if proven.is_some_and(|proven| proven.minds_exit(service)) {
        l.durable.healing.exited(service, now.boot);
        if l.durable.healing.crash_loops(now.boot).next().is_some() {
            l.heartbeats.urge();
        }
    }
}

/// Something else changes services: what has not left does not leave.
fn stand_back(l: &mut Shared) {
    let healing = &l.durable.healing;
    let phase = *healing.phase;
    if phase == Phase::Resting && healing.stopped_since.is_empty() && !healing.has_exits() {
        return;
    }
    if let Phase::Looking(op) | Phase::Acting(op) = phase {
        l.in_flight.forget(op);
    }
    l.timers.disarm(Timer::Heal);
    let healing = &mut l.durable.healing;
    *healing.phase = Phase::Resting;
    *healing.refused = None;
    healing.stopped_since.clear();
    healing.forget_exits();
}

fn rearm(l: &mut Shared, at: Option<Millis>) {
    match at {
        Some(at) => l.timers.arm(Timer::Heal, at),
        None => l.timers.disarm(Timer::Heal),
    }
}
