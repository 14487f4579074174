//! Answers of the local API. Pure.

use crate::lifecycle::context::{Context, Query};
use crate::lifecycle::effect::LocalAnswer;
use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::progress::hindrance::service_lock;
use crate::lifecycle::report::doctor;
use crate::lifecycle::report::guard::guard_status;
use crate::lifecycle::report::status::{stopped_by_operator, supervisor_status, update_status};
use crate::lifecycle::report::summary::summary;
use crate::lifecycle::report::unused_images::unused_images;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::codes::Capability;
use baseos_interfaces::local::{CloudlyStatus, Handshake, LocalStatus, Locks, UpdateAnswer};

/// What the local API of this agent can do.
const CAPABILITIES: [Capability; 4] = [
    Capability::Locks,
    Capability::UpdateConsent,
    Capability::Events,
    Capability::Join,
];

/// Writes an answer from the state a step ended in.
pub(crate) fn answer(query: Query, l: &Shared, state: &State, cx: &Context) -> LocalAnswer {
    match query {
        Query::Handshake => LocalAnswer::Handshake(handshake(l)),
        Query::Status => LocalAnswer::Status(Box::new(local_status(l, state))),
        Query::Update => LocalAnswer::Update(update_answer(l, state)),
        Query::Locks => LocalAnswer::Locks(locks(l, state.grants(l) == Grants::Not, cx.now)),
        Query::Doctor => LocalAnswer::Doctor(doctor::examine(l, state, cx.now)),
        Query::Joining => LocalAnswer::Joining(cloudly_status(l)),
        Query::Ready(answer) => answer,
    }
}

fn handshake(l: &Shared) -> Handshake {
    Handshake {
        runtime: "baseos".to_owned(),
        agent_version: l.run.node.agent_version.clone(),
        node_id: l.durable.node.as_ref().and_then(|node| node.id.clone()),
        capabilities: CAPABILITIES.to_vec(),
    }
}

fn local_status(l: &Shared, state: &State) -> LocalStatus {
    LocalStatus {
        summary: summary(l, state),
        state: state.name(),
        node_id: l.durable.node.as_ref().and_then(|node| node.id.clone()),
        supervisor: supervisor_status(l),
        cloudly: cloudly_status(l),
        running: l.running().map(str::to_owned),
        observed_revision: l.durable.revision(),
        update: update_status(l, state),
        guard: guard_status(l),
        unused_images: unused_images(l, state),
        stopped_by_operator: stopped_by_operator(l).map(str::to_owned).collect(),
        issues: l.issues.status().issues,
    }
}

fn cloudly_status(l: &Shared) -> CloudlyStatus {
    CloudlyStatus {
        connected: l.heartbeats.last_contact().is_some() && l.heartbeats.last_failure().is_none(),
        last_contact_at: l.heartbeats.last_contact().map(|mark| mark.wall),
        error: l.heartbeats.last_failure().map(|failure| failure.message.clone()),
        failures: l.heartbeats.failures(),
    }
}

fn update_answer(l: &Shared, state: &State) -> UpdateAnswer {
    let update = update_status(l, state);
    UpdateAnswer {
        state: update.state,
        blocked_by: update.blocked_by,
        deferred_until: l.durable.consent.deferred_until(),
    }
}

fn locks(l: &Shared, draining: bool, now: Stamp) -> Locks {
    Locks {
        locks: l
            .durable
            .leases
            .iter()
            .map(|lease| lease.shown(now.boot))
            .collect(),
        foreign: l.host.foreign_locks.clone(),
        services: service_lock(l, now).into_iter().collect(),
        draining,
        forced: draining && l.durable.policy().is_forced(),
    }
}
