//! Can an update be undone? Decided before anything is touched.
//!
//! The release to go back to is the one that proved itself here. Before the first one has, it is the one that runs when
//! the update comes: in full from Cloudly where it knows it, else from the Supervisor's own target where that can be
//! written as a release without loss.

use crate::lifecycle::facts::{AppState, Inspection, PresentRelease, PresentService};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::supervisor_target::builder;
use crate::lifecycle::update::record::{Rollback, Update};
use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::running::short;

/// The release to go back to from this commit.
pub(crate) fn way_back<'a>(l: &'a Shared, commit: &str) -> Option<&'a Release> {
    let other = |release: &&Release| release.commit != commit;
    let proven = l.durable.proven.as_ref();
    match proven {
        Some(_) => proven.filter(other),
        None => l.durable.fallback.as_ref().filter(other),
    }
}

/// Whether `update` could be undone, as far as is known now.
pub(crate) fn assess(l: &Shared, update: &Update) -> Rollback {
    if l.view().is_some_and(|view| view.managed) {
        let reason = "the Supervisor is given its target by its backend: only that can go back";
        return Rollback::Impossible(reason.to_owned());
    }
    let Some(release) = way_back(l, update.commit()) else {
        let before = update.rollback.as_ref().and_then(Rollback::problem);
        let reason = before.unwrap_or("no release is known to go back to");
        return Rollback::Impossible(reason.to_owned());
    };
    let history = l.durable.history(release);
    match builder::check(&l.durable.target, release, history, &l.run.own_service) {
        Ok(()) => Rollback::Possible(release.commit.clone()),
        Err(refusal) => Rollback::Impossible(format!(
            "release {}, which runs, may not be handed over again: {refusal}",
            short(&release.commit)
        )),
    }
}

/// Takes over the release that runs, as long as none has proved itself here, and says whether `update` could be undone.
pub(crate) fn prepare(l: &mut Shared, update: &Update, inspection: &Inspection) -> Rollback {
    if l.durable.proven.is_some() || inspection.view.managed {
        return assess(l, update);
    }
    let problem = take_present(l, inspection).err();
    match (assess(l, update), problem) {
        (Rollback::Impossible(_), Some(problem)) if way_back(l, update.commit()).is_none() => {
            Rollback::Impossible(problem)
        }
        (rollback, _) => rollback,
    }
}

/// # Errors
/// Why what the Supervisor has is not a release to go back to.
fn take_present(l: &mut Shared, inspection: &Inspection) -> Result<(), String> {
    let app = l.durable.target.app_id().and_then(|id| inspection.apps.get(&id));
    let view = &inspection.view;
    let running = view.release.as_deref();
    let known = l.durable.fallback.as_ref();
    if running.is_some() && known.is_some_and(|known| running == Some(&known.commit)) {
        return Ok(());
    }
    // Another release, or one that is only half there.
    let applied = app
        .filter(|_| view.app_state == AppState::Applied)
        .filter(|app| app.commit.is_some() && app.commit.as_deref() == running);
    let Some((app, commit)) = applied.zip(running) else {
        return Err(match running {
            Some(running) => format!(
                "release {} is not what the Supervisor's target says",
                short(running)
            ),
            None => "no release runs".to_owned(),
        });
    };
    l.durable.fallback = None;
    let unknown = || format!("Cloudly does not know release {}, which runs", short(commit));
    match &app.definition {
        Some(Ok(present)) => {
            l.durable.fallback = Some(as_release(present, commit, &l.run.own_service));
            Ok(())
        }
        Some(Err(why)) => Err(format!(
            "{}, and its target cannot be posted again: {why}",
            unknown()
        )),
        None => Err(unknown()),
    }
}

fn as_release(present: &PresentRelease, commit: &str, own_service: &str) -> Release {
    let service = |service: &PresentService| Service {
        image: service.image.clone(),
        environment: service.environment.clone(),
        labels: service.labels.clone(),
        composition: service.composition.clone(),
        ..Service::default()
    };
    Release {
        commit: commit.to_owned(),
        agent_service: Some(own_service.to_owned()),
        services: present
            .services
            .iter()
            .map(|(name, present)| (name.clone(), service(present)))
            .collect_tree(),
        volumes: present.volumes.clone(),
        networks: present.networks.clone(),
        ..Release::default()
    }
}
