//! What has to change to get from what is to what shall be.

use crate::supervisor::container::{Container, ContainerState};
use crate::supervisor::target::{App, Service, Target};
use crate::supervisor::{Effect, Supervisor};
use std::collections::BTreeSet;

impl Supervisor {
    /// What has to change, containers and volumes.
    pub(crate) fn work(&self, target: &Target) -> Work {
        let mut work = Work::default();
        for container in &self.containers {
            let wanted = services(target)
                .find(|(app, service)| app.id == container.app_id && service.name == container.service);
            match wanted {
                Some((app, service))
                    if service.config == container.config && !self.uses_changed_volume(target, container) =>
                {
                    if !container.is(app, service) {
                        work.renamed
                            .push((container.id.clone(), app.clone(), service.clone()));
                        work.apps.insert(app.id);
                    }
                    // A start that failed is tried again; one that ran once and ended is left alone (u06-restart 6e).
                    if container.state == ContainerState::Created {
                        work.started.push((app.clone(), service.clone()));
                        work.apps.insert(app.id);
                    }
                }
                _ => {
                    work.gone.push(container.id.clone());
                    work.apps.insert(container.app_id);
                }
            }
        }
        for (app, service) in services(target) {
            let exists =
                |container: &Container| container.app_id == app.id && container.service == service.name;
            if !self.containers.iter().any(exists) {
                work.started.push((app.clone(), service.clone()));
                work.apps.insert(app.id);
            }
        }
        work.volumes = target.apps.iter().any(|app| {
            app.volumes.iter().any(|(name, definition)| {
                self.volumes
                    .get(&volume(app.id, name))
                    .is_none_or(|known| !known.is_same(definition))
            })
        });
        work
    }

    fn uses_changed_volume(&self, target: &Target, container: &Container) -> bool {
        let Some(app) = target.apps.iter().find(|app| app.id == container.app_id) else {
            return false;
        };
        container.config.volumes().any(|name| {
            let new = app
                .volumes
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, definition)| definition);
            let old = self.volumes.get(&volume(app.id, name));
            matches!((old, new), (Some(old), Some(new)) if !old.is_same(new))
        })
    }

    /// A changed definition deletes and recreates the volume, data and all (u04-volume-change). A volume that is
    /// left out is kept.
    pub(crate) fn change_volumes(&mut self, target: &Target) {
        for app in &target.apps {
            for (name, definition) in &app.volumes {
                let name = volume(app.id, name);
                match self.volumes.get(&name) {
                    Some(known) if known.is_same(definition) => continue,
                    Some(_) => self.effects.push(Effect::WipeVolume { name: name.clone() }),
                    None => {}
                }
                self.effects.push(Effect::MakeVolume { name: name.clone() });
                self.volumes.insert(name, definition.clone());
            }
        }
    }
}

pub(crate) fn services(target: &Target) -> impl Iterator<Item = (&App, &Service)> {
    target
        .apps
        .iter()
        .flat_map(|app| app.services.iter().map(move |service| (app, service)))
}

/// Those that depend on none of the others; the rest is started at the next plan (u05-features: the second service
/// was not made while the first could not start).
pub(crate) fn first_of(started: Vec<(App, Service)>) -> Vec<(App, Service)> {
    let names: BTreeSet<(u64, String)> = started
        .iter()
        .map(|(app, service)| (app.id, service.name.clone()))
        .collect();
    let free = |app: &App, service: &Service| {
        let on = service.config.depends_on();
        !on.iter().any(|name| names.contains(&(app.id, name.clone())))
    };
    let first: Vec<_> = started
        .iter()
        .filter(|(app, service)| free(app, service))
        .cloned()
        .collect();
    // A circle cannot be resolved; start them all rather than none.
    if first.is_empty() { started } else { first }
}

fn volume(app: u64, name: &str) -> String {
    format!("{app}_{name}")
}

#[derive(Default)]
pub(crate) struct Work {
    pub(crate) gone: Vec<String>,
    pub(crate) renamed: Vec<(String, App, Service)>,
    pub(crate) started: Vec<(App, Service)>,
    pub(crate) apps: BTreeSet<u64>,
    volumes: bool,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.renamed.is_empty() && self.started.is_empty() && !self.volumes
    }
}
