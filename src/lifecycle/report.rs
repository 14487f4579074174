//! Reports: what the machine says of itself, to Cloudly, to Onebox and to people. Pure.

use crate::lifecycle::facts::AppState;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::states::State;
use crate::lifecycle::states::idle::Idle;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::update::{Finished, Update};
use baseos_interfaces::local::{CloudlyStatus, Handshake, LocalStatus, Locks, UpdateAnswer};
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::{RolloutState, UpdateState};
use baseos_interfaces::status::{
    AgentStatus, Blocker, NetworkStatus, NodeStatus, ReleaseStatus, RolloutStatus, ServiceStatus,
    SupervisorStatus, UpdateError, UpdateStatus,
};

/// What the local API of this agent can do.
const LOCAL_CAPABILITIES: [&str; 4] = ["locks", "updateConsent", "events", "join"];

/// The current or last update.
pub fn update_status(l: &Lifecycle, state: &State) -> UpdateStatus {
    let under_way = |update: &Update, wire: UpdateState, error: Option<&UpdateError>| UpdateStatus {
        state: wire,
        target: Some(update.release.commit.clone()),
        phase_since: Some(update.since.wall),
        progress_percent: *update.progress,
        attempt: Some(update.attempt.max(1)),
        max_attempts: Some(l.book.policy().max_attempts.max(1)),
        blocked_by: update.blocked.clone(),
        error: error.or(update.last_error.as_ref()).cloned(),
        ..UpdateStatus::default()
    };
    let ended = |last: &Finished| UpdateStatus {
        state: last.state,
        target: Some(last.commit.clone()),
        phase_since: Some(last.at),
        attempt: Some(last.attempt.max(1)),
        max_attempts: Some(l.book.policy().max_attempts.max(1)),
        error: last.error.clone(),
        ..UpdateStatus::default()
    };
    match state {
        State::Unenrolled(_) | State::Registering(_) => UpdateStatus::default(),
        State::Idle(idle) => idle.last.as_ref().map(ended).unwrap_or_default(),
        State::Staging(staging) => under_way(&staging.update, UpdateState::Staged, None),
        State::Waiting(waiting) => under_way(&waiting.update, UpdateState::Waiting, None),
        State::Applying(applying) => under_way(&applying.update, UpdateState::Applying, None),
        State::Verifying(verifying) => under_way(&verifying.update, UpdateState::Verifying, None),
        State::Failed(failed) => ended(&failed.last),
        State::RollbackNeeded(bad) => under_way(&bad.update, UpdateState::RollbackNeeded, Some(&bad.error)),
    }
}

/// The full status for a heartbeat. Nothing in it changes by itself from one heartbeat to the next.
pub fn node_status(l: &Lifecycle, state: &State) -> NodeStatus {
    let view = l.view();
    let update = update_status(l, state);
    let rollout = state.rollout().map(|id| RolloutStatus {
        id,
        state: RolloutState::from_update(update.state),
    });
    let since = l
        .book
        .node
        .as_ref()
        .map_or(l.book.epoch, |node| node.enrolled_epoch);
    NodeStatus {
        supervisor: supervisor_status(l),
        os: view.map(|view| view.os.clone()).unwrap_or_default(),
        agent: AgentStatus {
            version: l.run.node.agent_version.clone(),
            started_at: l.started_at,
            restart_count: u32::try_from(l.book.epoch.saturating_sub(since)).unwrap_or(u32::MAX),
            state: state.name(),
        },
        release: release_status(l),
        update,
        rollout,
        network: NetworkStatus {
            ip_addresses: view.map(|view| view.ip_addresses.clone()).unwrap_or_default(),
            mac_addresses: view.map(|view| view.mac_addresses.clone()).unwrap_or_default(),
        },
        health: l.issues.status(),
    }
}

fn release_status(l: &Lifecycle) -> ReleaseStatus {
    let Some(view) = l.view() else {
        return ReleaseStatus::default();
    };
    let known = [
        l.book.good.as_ref(),
        l.book.desired_app().map(|app| &app.release),
        l.book.previous.as_ref(),
    ];
    let running = known
        .into_iter()
        .flatten()
        .find(|release| view.release.as_ref() == Some(&release.commit));
    let good = l.book.good.as_ref();
    let at_good = good.is_some_and(|good| view.release.as_ref() == Some(&good.commit));
    let previous = if at_good { l.book.previous.as_ref() } else { good };
    let services = view
        .containers
        .iter()
        .map(|container| {
            let image = running.and_then(|release| release.services.get(&container.service));
            let image = image.map(|service| service.image.clone());
            (
                container.service.clone(),
                ServiceStatus {
                    image,
                    status: container.status.clone(),
                },
            )
        })
        .collect();
    ReleaseStatus {
        running: view.release.clone(),
        version: running.and_then(|release| release.version.clone()),
        previous: previous.map(|release| release.commit.clone()),
        services,
    }
}

fn supervisor_status(l: &Lifecycle) -> SupervisorStatus {
    match &l.supervisor {
        Some(Ok(view)) => SupervisorStatus {
            available: true,
            version: Some(view.version.clone()),
            managed: Some(view.managed),
            error: None,
        },
        Some(Err(error)) => SupervisorStatus {
            error: Some(error.message.clone()),
            ..Default::default()
        },
        None => SupervisorStatus {
            error: Some("not looked at yet".to_owned()),
            ..Default::default()
        },
    }
}

pub(super) fn cloudly_status(l: &Lifecycle) -> CloudlyStatus {
    CloudlyStatus {
        connected: l.beats.last_contact().is_some() && l.beats.last_failure().is_none(),
        last_contact_at: l.beats.last_contact().map(|mark| mark.wall),
        error: l.beats.last_failure().map(|failure| failure.message.clone()),
        failures: l.beats.failures(),
    }
}

pub(super) fn handshake(l: &Lifecycle) -> Handshake {
    Handshake {
        runtime: "baseos".to_owned(),
        agent_version: l.run.node.agent_version.clone(),
        node_id: l.book.node.as_ref().map(|node| node.id.clone()),
        capabilities: LOCAL_CAPABILITIES.map(str::to_owned).to_vec(),
    }
}

pub(super) fn local_status(l: &Lifecycle, state: &State) -> LocalStatus {
    LocalStatus {
        summary: summary(l, state),
        state: state.name(),
        node_id: l.book.node.as_ref().map(|node| node.id.clone()),
        supervisor: supervisor_status(l),
        cloudly: cloudly_status(l),
        running: l.view().and_then(|view| view.release.clone()),
        observed_revision: l.book.revision(),
        update: update_status(l, state),
        issues: l.issues.status().issues,
    }
}

pub(super) fn update_answer(l: &Lifecycle, state: &State) -> UpdateAnswer {
    let update = update_status(l, state);
    let deferred_until = l
        .book
        .consent
        .deferral
        .as_ref()
        .map(|deferral| deferral.until_wall);
    UpdateAnswer {
        state: update.state,
        blocked_by: update.blocked_by,
        deferred_until,
    }
}

pub(super) fn locks(l: &Lifecycle, draining: bool, now: Stamp) -> Locks {
    Locks {
        locks: l.book.leases.iter().map(|lease| lease.shown(now.boot)).collect(),
        foreign: l.host.foreign_locks.clone(),
        draining,
    }
}

/// One sentence for people: what the agent is doing, and what it waits for.
pub fn summary(l: &Lifecycle, state: &State) -> String {
    let goal = |update: &Update| match &update.release.version {
        Some(version) => format!("release {version} ({})", short(update.commit())),
        None => format!("release {}", short(update.commit())),
    };
    let mut sentence = match state {
        State::Unenrolled(unenrolled) => unenrolled.summary(),
        State::Registering(registering) => registering.summary(),
        State::Idle(idle) => idle_sentence(l, idle),
        State::Staging(staging) => match staging.update.blocked.first() {
            Some(blocker) => format!("Checking {}; held up: {}.", goal(&staging.update), words(blocker)),
            None => format!("Checking {} before anything is touched.", goal(&staging.update)),
        },
        State::Waiting(waiting) => {
            let why: Vec<_> = waiting.update.blocked.iter().map(words).collect();
            format!("Waiting to apply {}: {}.", goal(&waiting.update), why.join("; "))
        }
        State::Applying(applying) => {
            let update = &applying.update;
            match (update.blocked.first(), *update.progress) {
                (Some(blocker), _) => format!("Applying {}; held up: {}.", goal(update), words(blocker)),
                (None, Some(percent)) => format!("Applying {}: {percent} % downloaded.", goal(update)),
                (None, None) => format!("Applying {}.", goal(update)),
            }
        }
        State::Verifying(verifying) => {
            let seconds = l.book.policy().health_seconds;
            format!(
                "Verifying {}: it must stay healthy for {seconds} s.",
                goal(&verifying.update)
            )
        }
        State::Failed(failed) => {
            let why = failed
                .last
                .error
                .as_ref()
                .map_or("unknown", |error| error.message.as_str());
            format!("Failed: gave up release {}: {why}.", short(&failed.last.commit))
        }
        State::RollbackNeeded(bad) => bad.summary(),
    };
    if let Some(failure) = l.beats.last_failure() {
        // "Cloudly answered 410" says already who.
        let who = if failure.message.starts_with("Cloudly ") {
            ""
        } else {
            "Cloudly: "
        };
        sentence.push_str(&format!(" {who}{}.", failure.message));
    }
    sentence
}

fn idle_sentence(l: &Lifecycle, idle: &Idle) -> String {
    if let Some(node) = l
        .book
        .node
        .as_ref()
        .filter(|node| node.approval != Approval::Approved)
    {
        let why = node
            .approval_reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        return format!("Enrolled; waiting for an operator to approve this node{why}.");
    }
    if let Some(last) = idle
        .last
        .as_ref()
        .filter(|last| last.state == UpdateState::RolledBack)
    {
        let why = last
            .error
            .as_ref()
            .map_or("it was bad", |error| error.message.as_str());
        return format!("Idle: went back from release {}: {why}.", short(&last.commit));
    }
    match &l.supervisor {
        Some(Err(error)) => format!("Idle; the Supervisor is not available: {}.", error.message),
        None => "Idle: the Supervisor has not been looked at yet.".to_owned(),
        Some(Ok(view)) => match &view.release {
            Some(running) => format!("Idle: release {} runs, nothing to do.", short(running)),
            None if view.app_state != AppState::Applied => {
                "Idle: the Supervisor is at work; which release runs is not known yet.".to_owned()
            }
            None => "Idle: no release runs.".to_owned(),
        },
    }
}

/// A reason to wait, in words.
pub fn words(blocker: &Blocker) -> String {
    let kind = blocker.kind.as_str();
    match (&blocker.holder, &blocker.reason) {
        (Some(holder), Some(reason)) => format!("{kind}, {holder}: {reason}"),
        (Some(holder), None) => format!("{kind}, {holder}"),
        (None, Some(reason)) => format!("{kind}: {reason}"),
        (None, None) => kind.to_owned(),
    }
}

pub(super) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
