//! The doctor's look at the guard: a guard that is not armed yet is waited for; one that stays away is a failure.

use crate::lifecycle::guard::standing::{Standing, standing};
use crate::lifecycle::report::check::{check, warning};
use crate::lifecycle::report::guard::guard_status;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::local::Check;
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::terminal::time;

const NAME: &str = "guard";
const LOOK: &str = "look at the container baserunner-guard and its log; the agent goes on trying to add it";

/// `None`: there is nothing to say of it yet, or this agent has none.
pub(super) fn guard(l: &Shared, state: &State, now: Stamp) -> Option<Check> {
    let (standing, status) = (standing(l)?, guard_status(l)?);
    let at = |due| now.wall_at(due).map_or_else(|| "soon".to_owned(), time);
    let holds = status.holds.as_deref().unwrap_or("nothing");
    if let (Some(trial), Some(due)) = (&status.trial, l.durable.guard.trial_due()) {
        let until = at(due);
        let fact = format!(
            "the agent of release {trial} has to prove itself until {until}; the guard holds {holds}"
        );
        return Some(if now.boot < due {
            warning(NAME, fact, "wait: else the guard puts the release before it back")
        } else {
            check(NAME, false, fact, LOOK)
        });
    }
    let Some(reason) = status.reason else {
        return Some(check(NAME, true, format!("armed, it holds {holds}"), ""));
    };
    let fact = format!("not armed: {reason}");
    Some(match standing {
        Standing::Armed | Standing::Managed => check(NAME, true, fact, ""),
        Standing::NothingProven => warning(
            NAME,
            fact,
            "set a release desired: the agent adds its guard once one has proved itself",
        ),
        Standing::NotAdded(_) => check(NAME, false, fact, LOOK),
        Standing::DoesNotRun | Standing::Silent | Standing::HoldsAnother => {
            match (waited_for(l, state), l.arming.expected_by()) {
                (Some(what), _) => warning(
                    NAME,
                    format!("{fact}; the agent adds it after {what}"),
                    "wait for that",
                ),
                (None, Some(due)) if now.boot < due => {
                    let fact = format!("{fact}; expected by {}", at(due));
                    warning(NAME, fact, "wait: the agent is adding it")
                }
                (None, _) => check(NAME, false, fact, LOOK),
            }
        }
    })
}

/// What the agent waits for before it adds the guard.
fn waited_for(l: &Shared, state: &State) -> Option<&'static str> {
    let mut containers = l.view()?.containers.iter();
    if containers.any(|container| container.service == GUARD_SERVICE) {
        None
    } else if l.heartbeats.last_contact().is_none() || l.heartbeats.last_failure().is_some() {
        Some("Cloudly has accepted a heartbeat")
    } else if !matches!(state, State::Idle(_)) {
        Some("the update has ended")
    } else if l.durable.leases.iter().next().is_some() || !l.host.foreign_locks.is_empty() {
        Some("the update locks have ended")
    } else {
        None
    }
}
