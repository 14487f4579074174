//! The doctor: everything an operator would look at, each as check, fact and fix.

use crate::lifecycle::facts::CallFailureKind;
use crate::lifecycle::report::check::{check, warning};
use crate::lifecycle::report::guard_check::guard;
use crate::lifecycle::report::health::{CLOSE_PORT, lock_files_overridden};
use crate::lifecycle::report::unused_images::unused_images;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::local::{Check, Doctor};
use baseos_interfaces::status::UnusedImage;
use baseos_interfaces::terminal::time;

const NETWORK: &str =
    "check the network, the name and the certificate of BASEOS_CLOUDLY_URL; the agent goes on trying";

const RESTORE: &str = "apps and identity are kept; an operator runs `cloudly node restore NODE`";

const DISOWNED: &str = "Cloudly no longer accepts this node; apps and identity are kept. Removed by an operator: `cloudly \
                        node restore ID` takes it back. Else make a new join token and run `baserunner join TOKEN`";

const NEW_TOKEN: &str = "make a new token (`cloudly token create`) and give it to `baserunner join`";

pub(crate) fn examine(l: &Shared, state: &State, now: Stamp) -> Doctor {
    Doctor {
        checks: vec![
            identity(l, state),
            cloudly(l, state),
            clock(l, now),
            supervisor(l),
            exposure(l),
            saved(l),
            disk(l, state),
            locks(l, state),
        ]
        .into_iter()
        .chain(guard(l, state, now))
        .collect(),
    }
}

fn identity(l: &Shared, state: &State) -> Check {
    match (&l.durable.node, l.durable.join.refused()) {
        (Some(node), _) if l.heartbeats.is_disowned() => check(
            "identity",
            false,
            format!("{}; {}", node.in_words(), disowned(l)),
            DISOWNED,
        ),
        (Some(node), None) => check("identity", true, node.in_words(), ""),
        (Some(node), Some(refused)) => check(
            "identity",
            true,
            format!("{}; {}", node.in_words(), refused.in_words()),
            "",
        ),
        (None, Some(refused)) => check("identity", false, refused.in_words(), NEW_TOKEN),
        (None, None) => match join_problem(l) {
            Some(problem) => check("identity", false, format!("not enrolled: {problem}"), NEW_TOKEN),
            None if matches!(state, State::Registering(_)) => check(
                "identity",
                false,
                "not enrolled yet: Cloudly has not answered",
                NETWORK,
            ),
            None => check(
                "identity",
                false,
                "not enrolled",
                "set BASEOS_CLOUDLY_URL and BASEOS_JOIN_TOKEN, or run `baserunner join TOKEN`",
            ),
        },
    }
}

/// Why the identity is of no use.
fn disowned(l: &Shared) -> &'static str {
    match l.heartbeats.last_failure().map(|failure| failure.kind) {
        Some(CallFailureKind::Removed) => "an operator has removed this node from Cloudly",
        Some(CallFailureKind::NoCredentials) => "its token is missing on this device",
        _ => "Cloudly does not know its token",
    }
}

/// Why the join token that is there is not used.
fn join_problem(l: &Shared) -> Option<String> {
    let offer = l.offer.as_ref()?;
    l.durable.join.may_use(offer).err()
}

/// Why the last try to register failed.
fn registering(state: &State) -> Option<&str> {
    match state {
        State::Registering(registering) => registering.problem(),
        State::Unenrolled(_)
        | State::Idle(_)
        | State::Staging(_)
        | State::Waiting(_)
        | State::Applying(_)
        | State::Verifying(_)
        | State::Failed(_)
        | State::RollbackNeeded(_) => None,
    }
}

fn cloudly(l: &Shared, state: &State) -> Check {
    let mut check = calls(l, state);
    if let Some(url) = &l.run.cloudly_url {
        check.fact = format!("{url}: {}", check.fact);
    }
    check
}

/// How calls of Cloudly go.
fn calls(l: &Shared, state: &State) -> Check {
    if let Some(problem) = registering(state) {
        return check("cloudly", false, problem, NETWORK);
    }
    match (l.heartbeats.last_failure(), l.heartbeats.last_contact()) {
        (Some(failure), _) if l.heartbeats.is_disowned() => check(
            "cloudly",
            false,
            format!("{} ({} times in a row)", failure.message, l.heartbeats.failures()),
            DISOWNED,
        ),
        (Some(failure), _) => check(
            "cloudly",
            false,
            format!("{} ({} times in a row)", failure.message, l.heartbeats.failures()),
            if failure.kind == CallFailureKind::Suspended {
                RESTORE
            } else {
                NETWORK
            },
        ),
        (None, Some(mark)) => check(
            "cloudly",
            true,
            format!("last accepted a call at {}", time(mark.wall)),
            "",
        ),
        (None, None) if l.durable.join.refused().is_some() => {
            check("cloudly", true, "it answers, and refused the join token", "")
        }
        (None, None) => check(
            "cloudly",
            l.durable.node.is_none(),
            "not called yet",
            "wait for the first heartbeat",
        ),
    }
}

fn clock(l: &Shared, now: Stamp) -> Check {
    if let Some(problem) = l.wall_clock(now).problem(now) {
        let fix = "check the device's time source (chrony or timesyncd, the battery of its clock); until then Cloudly's \
                   certificate is accepted at any time since the agent was built";
        return check("clock", false, problem, fix);
    }
    match l.heartbeats.skew_seconds(now) {
        Some(off) => check(
            "clock",
            false,
            format!("{off} s off Cloudly's clock"),
            "check the device's time source; the agent's own deadlines do not depend on it",
        ),
        None if l.heartbeats.last_contact().is_none() => check(
            "clock",
            true,
            "not compared with Cloudly's, which has not been heard yet",
            "",
        ),
        None => check("clock", true, "agrees with Cloudly's", ""),
    }
}

fn supervisor(l: &Shared) -> Check {
    match &l.supervisor {
        Some(Ok(view)) => {
            let mode = if view.managed { "managed" } else { "unmanaged" };
            check(
                "supervisor",
                true,
                format!("version {}, {mode}", view.version),
                "",
            )
        }
        Some(Err(error)) if !l.run.supervisor_configured => check(
            "supervisor",
            false,
            error.message.clone(),
            "give the service the label io.balena.features.supervisor-api=1",
        ),
        Some(Err(error)) => check(
            "supervisor",
            false,
            error.message.clone(),
            "look at the container balena_supervisor on the host; the agent goes on trying",
        ),
        None => check("supervisor", false, "not looked at yet", "wait a moment"),
    }
}

/// An unmanaged Supervisor never asks for a key, and the agent cannot see the host's firewall.
fn exposure(l: &Shared) -> Check {
    if l.issues.has(&IssueCode::SupervisorApiExposed) {
        return warning(
            "supervisor API",
            "without a key it takes orders from anybody whom a firewall lets reach port 48484; an unmanaged Supervisor \
             cannot do otherwise",
            CLOSE_PORT,
        );
    }
    let fact = match &l.supervisor {
        Some(Ok(_)) => "asks for a key",
        Some(Err(_)) => "not known while the Supervisor does not answer",
        None => "not looked at yet",
    };
    check("supervisor API", true, fact, "")
}

fn saved(l: &Shared) -> Check {
    match &l.state_problem {
        Some(problem) => check(
            "state",
            false,
            format!("the state cannot be saved: {problem}"),
            "free space on the data partition; nothing new is begun until then",
        ),
        None => check("state", true, "saved", ""),
    }
}

fn disk(l: &Shared, state: &State) -> Check {
    let unused: Vec<_> = unused_images(l, state)
        .iter()
        .map(UnusedImage::in_words)
        .collect();
    let (listed, fix) = if unused.is_empty() {
        let fix = "make room on the data partition; no image is known that could be removed";
        (String::new(), fix)
    } else {
        let listed = format!("; images that are no longer needed: {}", unused.join(", "));
        (listed, UnusedImage::REMEDY)
    };
    match l.host.free_bytes {
        Some(free) => check(
            "disk",
            free >= l.run.reserve_bytes,
            format!("{} MiB free{listed}", free >> 20),
            fix,
        ),
        None => check("disk", true, format!("not looked at yet{listed}"), ""),
    }
}

fn locks(l: &Shared, state: &State) -> Check {
    if let Some(overridden) = lock_files_overridden(l, state.changes_services()) {
        return warning("locks", overridden, "wait until the update has ended");
    }
    if let Some(problem) = l.lock_files.problem() {
        return check(
            "locks",
            false,
            problem,
            "the Supervisor does not see the leases: look at the lock directory named here",
        );
    }
    if let Some(problem) = &l.host.lock_dir_problem {
        return check(
            "locks",
            false,
            problem,
            "leases hold back this agent's own updates all the same; the Supervisor does not see them",
        );
    }
    let held: Vec<_> = l
        .durable
        .leases
        .iter()
        .map(|lease| format!("{} ({})", lease.name, lease.owner))
        .collect();
    if !l.host.foreign_locks.is_empty() {
        return check(
            "locks",
            false,
            format!(
                "lock files the agent did not make: {}",
                l.host.foreign_locks.join(", ")
            ),
            "find out which service made them; the agent never removes them",
        );
    }
    let fact = if held.is_empty() {
        "none held".to_owned()
    } else {
        format!("held: {}", held.join(", "))
    };
    check("locks", true, fact, "")
}
