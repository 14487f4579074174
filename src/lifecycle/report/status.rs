//! The node's status, as a heartbeat carries it. Pure.

use crate::lifecycle::facts::Container;
use crate::lifecycle::report::guard::guard_status;
use crate::lifecycle::report::unused_images::unused_images;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::update::record::{Finished, Update, UpdateError};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::states::{RolloutState, UpdateState};
use baseos_interfaces::status::{
    AgentStatus, NetworkStatus, NodeStatus, ReleaseStatus, RolloutStatus, ServiceStatus, SupervisorStatus,
    UpdateStatus,
};

/// The full status for a heartbeat. Nothing in it changes by itself from one heartbeat to the next.
pub(crate) fn node_status(l: &Shared, state: &State) -> NodeStatus {
    let view = l.view();
    let update = update_status(l, state);
    let rollout = state.rollout().map(|id| RolloutStatus {
        id,
        state: RolloutState::from_update(update.state),
    });
    let since = l
        .durable
        .node
        .as_ref()
        .map_or(l.durable.epoch, |node| node.enrolled_epoch);
    NodeStatus {
        supervisor: supervisor_status(l),
        os: view.map(|view| view.os.clone()).unwrap_or_default(),
        agent: AgentStatus {
            version: l.run.node.agent_version.clone(),
            started_at: l.started_at,
            restart_count: u32::try_from(l.durable.epoch.saturating_sub(since)).unwrap_or(u32::MAX),
            state: state.name(),
            guard: guard_status(l),
        },
        release: release_status(l, state),
        update,
        rollout,
        network: NetworkStatus {
            ip_addresses: view.map(|view| view.ip_addresses.clone()).unwrap_or_default(),
            mac_addresses: view.map(|view| view.mac_addresses.clone()).unwrap_or_default(),
        },
        health: l.issues.status(),
    }
}

/// The current or last update.
pub(crate) fn update_status(l: &Shared, state: &State) -> UpdateStatus {
    let under_way = |update: &Update, wire: UpdateState, error: Option<&UpdateError>| UpdateStatus {
        state: wire,
        target: Some(update.release.commit.clone()),
        phase_since: Some(update.since.wall),
        progress_percent: *update.progress,
        attempt: Some(update.attempt.max(1)),
        max_attempts: Some(l.durable.policy().max_attempts()),
        blocked_by: update.blocked().iter().map(Into::into).collect(),
        error: error.or(update.last_error.as_ref()).map(Into::into),
        rollback: update.rollback.as_ref().map(Into::into),
        ..UpdateStatus::default()
    };
    let ended = |last: &Finished| UpdateStatus {
        state: last.state,
        target: Some(last.commit.clone()),
        phase_since: Some(last.at),
        attempt: Some(last.attempt.max(1)),
        max_attempts: Some(l.durable.policy().max_attempts()),
        error: last.error.as_ref().map(Into::into),
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
        State::RollbackNeeded(bad) => UpdateStatus {
            going_back: Some(bad.is_restoring()),
            ..under_way(&bad.update, UpdateState::RollbackNeeded, Some(&bad.error))
        },
    }
}

/// `None`: the Supervisor has not been looked at, or does not answer, so nobody knows.
fn release_status(l: &Shared, state: &State) -> Option<ReleaseStatus> {
    let view = l.view()?;
    let known = [
        l.durable.proven.as_ref(),
        l.durable.desired_app().map(|app| &app.release),
        l.durable.previous.as_ref(),
        l.durable.fallback.as_ref(),
    ];
    let running = known
        .into_iter()
        .flatten()
        .find(|release| view.release.as_ref() == Some(&release.commit))
        .filter(|release| !is_not_replaced(state, &release.commit));
    let good = l.durable.proven.as_ref();
    let at_good = good.is_some_and(|good| view.release.as_ref() == Some(&good.commit));
    let previous = if at_good {
        l.durable.previous.as_ref()
    } else {
        let fallback = l.durable.fallback.as_ref();
        good.or_else(|| fallback.filter(|fallback| view.release.as_ref() != Some(&fallback.commit)))
    };
    let services = view
        .containers
        .iter()
        .map(|container| {
            let image = running.and_then(|release| release.services.get(&container.service));
            let guard = l.durable.guard.service.as_ref();
            let guard = guard.filter(|_| container.service == GUARD_SERVICE);
            let image = image.or(guard).map(|service| service.image.clone());
            (
                container.service.clone(),
                ServiceStatus {
                    image,
                    status: container.status.clone(),
                    stopped_by_operator: is_stopped_by_operator(l, container),
                },
            )
        })
        .collect_tree();
    Some(ReleaseStatus {
        running: view.release.clone(),
        version: running.and_then(|release| release.version.clone()),
        previous: previous.map(|release| release.commit.clone()),
        services,
        unused_images: unused_images(l, state),
    })
}

/// The services that do not run because an operator stopped them.
pub(crate) fn stopped_by_operator(l: &Shared) -> impl Iterator<Item = &str> {
    let containers = l.view().into_iter().flat_map(|view| &view.containers);
    containers
        .filter(|container| is_stopped_by_operator(l, container))
        .map(|container| container.service.as_str())
}

/// Somebody at the device may have started it again.
fn is_stopped_by_operator(l: &Shared, container: &Container) -> bool {
    !container.is_running() && l.durable.healing.was_stopped_on_purpose(&container.service)
}

/// Whether a release is one that the Supervisor calls applied although other images run: what runs is not known then.
pub(crate) fn is_not_replaced(state: &State, commit: &str) -> bool {
    let (of, code) = match state {
        State::Failed(failed) => (
            &failed.last.commit,
            failed.last.error.as_ref().map(|error| &error.code),
        ),
        State::RollbackNeeded(bad) => (&bad.update.release.commit, Some(&bad.error.code)),
        _ => return false,
    };
    of == commit && code == Some(&ErrorCode::ImageNotReplaced)
}

pub(crate) fn supervisor_status(l: &Shared) -> SupervisorStatus {
    match &l.supervisor {
        Some(Ok(view)) => SupervisorStatus {
            available: Some(true),
            version: Some(view.version.clone()),
            managed: Some(view.managed),
            error: None,
        },
        Some(Err(error)) => SupervisorStatus {
            available: Some(false),
            error: Some(error.message.clone()),
            ..Default::default()
        },
        None => SupervisorStatus::default(),
    }
}
