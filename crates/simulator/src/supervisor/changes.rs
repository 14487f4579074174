//! What has to change to get from the present state to the target.

use crate::supervisor::container::{Container, ContainerState};
use crate::supervisor::effect::Effect;
use crate::supervisor::model::Supervisor;
use crate::supervisor::target::{App, Service, Target};
use crate::supervisor::volume_definition::is_same;
use std::collections::BTreeSet;

impl Supervisor {
    pub(crate) fn changes(&self, target: &Target) -> Changes {
        let mut changes = Changes::default();
        for container in &self.containers {
            let wanted = target
                .services()
                .find(|(app, service)| app.id == container.app_id && service.name == container.service);
            match wanted {
                Some((app, service))
                    if !container.forgotten
                        && self.is_same_service(service, container)
                        && !self.uses_changed_volume(target, container) =>
                {
                    if !container.matches(app, service) {
                        changes
                            .renamed
                            .push((container.id.clone(), app.clone(), service.clone()));
                        changes.apps.insert(app.id);
                    }
                    // A start that failed is tried again; one that ran once and ended is not started again (observed).
                    if container.state == ContainerState::Created {
                        changes.to_start.push((app.clone(), service.clone()));
                        changes.apps.insert(app.id);
                    }
                }
                _ => {
                    changes.removed.push(container.id.clone());
                    changes.apps.insert(container.app_id);
                }
            }
        }
        for (app, service) in target.services() {
            let exists =
                |container: &Container| container.app_id == app.id && container.service == service.name;
            if !self.containers.iter().any(exists) {
                changes.to_start.push((app.clone(), service.clone()));
                changes.apps.insert(app.id);
            }
        }
        changes.volumes = target.apps.iter().any(|app| {
            app.volumes.iter().any(|(name, definition)| {
                self.volumes
                    .get(&volume(app.id, name))
                    .is_none_or(|known| !is_same(known, definition))
            })
        });
        changes
    }

    /// Whether a container is what a service of the target asks for. The Supervisor compares the engine's image ids, so
    /// two references of one image are equal.
    fn is_same_service(&self, service: &Service, container: &Container) -> bool {
        let wanted = self.images.find(&service.config.image);
        wanted.is_some_and(|image| image.id == container.image.id)
            && service.config.is_same_but_for_image(&container.config)
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
            matches!((old, new), (Some(old), Some(new)) if !is_same(old, new))
        })
    }

    /// A changed definition deletes the volume with its data and makes it again (u04-volume-change). A volume that is
    /// left out is kept.
    pub(crate) fn change_volumes(&mut self, target: &Target) {
        for app in &target.apps {
            for (name, definition) in &app.volumes {
                let name = volume(app.id, name);
                match self.volumes.get(&name) {
                    Some(known) if is_same(known, definition) => continue,
                    Some(_) => self.effects.push(Effect::WipeVolume { name: name.clone() }),
                    None => {}
                }
                self.effects.push(Effect::MakeVolume { name: name.clone() });
                self.volumes.insert(name, definition.clone());
            }
        }
    }
}

/// Those that depend on none of the others; the rest is started at the next plan (u05-features: the second service
/// was not made while the first could not start).
pub(crate) fn without_dependencies(all: Vec<(App, Service)>) -> Vec<(App, Service)> {
    let names: BTreeSet<(u64, String)> = all
        .iter()
        .map(|(app, service)| (app.id, service.name.clone()))
        .collect();
    let free = |app: &App, service: &Service| {
        let on = service.config.depends_on();
        !on.iter().any(|name| names.contains(&(app.id, name.clone())))
    };
    let first: Vec<_> = all
        .iter()
        .filter(|(app, service)| free(app, service))
        .cloned()
        .collect();
    // A circle cannot be resolved: start them all rather than none.
    if first.is_empty() { all } else { first }
}

fn volume(app: u64, name: &str) -> String {
    format!("{app}_{name}")
}

#[derive(Default)]
pub(crate) struct Changes {
    /// Containers to stop and remove.
    pub(crate) removed: Vec<String>,
    pub(crate) renamed: Vec<(String, App, Service)>,
    pub(crate) to_start: Vec<(App, Service)>,
    /// The apps that are changed.
    pub(crate) apps: BTreeSet<u64>,
    volumes: bool,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.renamed.is_empty() && self.to_start.is_empty() && !self.volumes
    }
}
