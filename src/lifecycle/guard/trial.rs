//! Trials: a release whose agent differs from the proven one is on trial until that agent has proved itself.

use crate::lifecycle::facts::{Container, SupervisorView};
use crate::lifecycle::guard::files::Trial;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::supervisor_target::LocalTarget;
use crate::lifecycle::supervisor_target::builder::guard::guard_service;
use crate::lifecycle::time::Millis;
use crate::lifecycle::update::target::Release;
use std::time::Duration;

/// Puts the guard into a target that is about to be handed over, and begins a trial when it changes the agent. A guard
/// that is there stays as it is: an update never changes both.
pub(crate) fn hand_over(
    l: &mut Shared,
    release: &Release,
    target: LocalTarget,
    view: &SupervisorView,
    now: Millis,
) -> LocalTarget {
    let Some(settings) = l.run.guard.clone() else {
        return target;
    };
    let own = l.run.own_service.clone();
    let durable = &mut *l.durable;
    let Some(proven) = durable
        .proven
        .as_ref()
        .and_then(|proven| proven.services.get(&own))
    else {
        return target;
    };
    let service = durable
        .guard
        .service
        .get_or_insert_with(|| guard_service(proven))
        .clone();
    let image_id = durable
        .target
        .images(&release.commit)
        .and_then(|images| images.get(&own))
        .copied();
    let present = view.containers.iter().find(|container| container.service == own);
    let runs_already = present.map(|container| container.image_id) == image_id
        && image_id.is_some()
        && durable.guard.has_proved(&release.commit);
    let unchanged = release.services.get(&own) == Some(proven);
    // One that is on trial already (a post whose answer was lost) stays that trial.
    let on_trial = durable
        .guard
        .trial()
        .is_some_and(|trial| trial.commit == release.commit);
    match image_id {
        Some(image_id) if !unchanged && !runs_already => {
            if !on_trial {
                durable.guard.end(false);
                let trial = Trial {
                    commit: release.commit.clone(),
                    agent_service: own,
                    image_id,
                    old_container: present.map(|container| container.container_id.clone()),
                    budget_seconds: settings.budget_seconds,
                    ..Trial::default()
                };
                let heard = l.heartbeats.last_contact().is_some() && l.heartbeats.last_failure().is_none();
                l.durable.guard.begin(trial, !heard, now);
            }
        }
        _ => durable.guard.end(false),
    }
    let ids = l.durable.target.guard_ids(&service);
    target.with_guard(ids, &service)
}

/// The Supervisor did not take the target.
pub(crate) fn not_handed_over(l: &mut Shared, release: &Release) {
    if budget(l, &release.commit).is_some() {
        l.durable.guard.end(false);
    }
}

/// How long the agent of this release may take to prove itself, if it is on trial.
pub(crate) fn budget(l: &Shared, commit: &str) -> Option<Duration> {
    let trial = l.durable.guard.trial().filter(|trial| trial.commit == commit)?;
    Some(Duration::from_secs(trial.budget_seconds.into()))
}

/// Ends the trial when this process is the agent on trial and has proved itself: Cloudly has accepted a heartbeat of it,
/// or, where Cloudly was away before the update too, it reaches the Supervisor and can save its state (its local API is
/// bound before anything else happens).
pub(crate) fn follow(l: &mut Shared) {
    let Some(trial) = l.durable.guard.trial() else {
        return;
    };
    let heard = l.heartbeats.last_contact().is_some();
    let well = l.durable.guard.cloudly_was_away() && l.host_seen && l.state_problem.is_none();
    if (heard || well) && l.view().is_some_and(|view| is_replaced(trial, &view.containers)) {
        l.durable.guard.end(true);
    }
}

/// Whether an agent of another release runs in a container that was made since the trial began.
pub(super) fn has_gone_back(trial: &Trial, containers: &[Container]) -> bool {
    let mut own = containers
        .iter()
        .filter(|container| container.service == trial.agent_service)
        .peekable();
    let is_new = |container: &Container| {
        container.image_id != trial.image_id && trial.old_container.as_ref() != Some(&container.container_id)
    };
    own.peek().is_some() && own.all(|container| is_new(container) && container.is_running())
}

/// Whether the new agent's container has taken the place of the old one's and runs. The old agent never sees that: it is
/// gone before.
fn is_replaced(trial: &Trial, containers: &[Container]) -> bool {
    let own = || {
        containers
            .iter()
            .filter(|container| container.service == trial.agent_service)
    };
    let old = |container: &Container| {
        container.image_id != trial.image_id || trial.old_container.as_ref() == Some(&container.container_id)
    };
    !own().any(old) && own().any(Container::is_running)
}
