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
    follow_if(l, is_replaced);
}

/// The release has been in place for its time of health. Where the agent's container is that of the release and was so
/// before the hand-over (somebody else had put it there), the Supervisor has nothing to replace.
pub(crate) fn follow_at_rest(l: &mut Shared) {
    follow_if(l, is_in_place);
}

fn follow_if(l: &mut Shared, is_the_one: impl Fn(&Trial, &[Container]) -> bool) {
    let Some(trial) = l.durable.guard.trial() else {
        return;
    };
    let heard = l.heartbeats.last_contact().is_some();
    let well = l.durable.guard.cloudly_was_away() && l.host_seen && l.state_problem.is_none();
    if (heard || well) && l.view().is_some_and(|view| is_the_one(trial, &view.containers)) {
        l.durable.guard.end(true);
    }
}

/// Whether an agent of another release runs in a container that was made since the trial began.
pub(super) fn has_gone_back(trial: &Trial, containers: &[Container]) -> bool {
    let mut own = of_the_agent(trial, containers).peekable();
    let is_new = |container: &Container| {
        container.image_id != trial.image_id && trial.old_container.as_ref() != Some(&container.container_id)
    };
    own.peek().is_some() && own.all(|container| is_new(container) && container.is_running())
}

/// Whether the new agent's container has taken the place of the old one's and runs. The old agent never sees that: it is
/// gone before.
fn is_replaced(trial: &Trial, containers: &[Container]) -> bool {
    let is_old = |container: &Container| trial.old_container.as_ref() == Some(&container.container_id);
    is_in_place(trial, containers) && !of_the_agent(trial, containers).any(is_old)
}

/// Whether the agent runs in a container of the image on trial, and in no other.
fn is_in_place(trial: &Trial, containers: &[Container]) -> bool {
    let mut own = of_the_agent(trial, containers);
    own.all(|container| container.image_id == trial.image_id)
        && of_the_agent(trial, containers).any(Container::is_running)
}

fn of_the_agent<'c>(trial: &Trial, containers: &'c [Container]) -> impl Iterator<Item = &'c Container> {
    let own = |container: &&Container| container.service == trial.agent_service;
    containers.iter().filter(own)
}
