//! What the agent knows of the Supervisor's target and the ids in it. Part of the checkpoint, so it is on disk before
//! a target that uses it leaves; what the Supervisor's own GET returns cannot be posted back (observed).

use crate::lifecycle::facts::Inspection;
use crate::lifecycle::update::target::Release;
use baseos_interfaces::rules::VolumeDefinition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Releases whose ids are remembered.
const REMEMBERED: usize = 8;
/// The app id of a device whose Supervisor has no app yet.
const FIRST_APP_ID: u64 = 1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TargetRecord {
    app_id: Option<u64>,
    app_name: Option<String>,
    device_name: Option<String>,
    /// The target's `config`.
    config: BTreeMap<String, String>,
    /// Service ids by service name; a name keeps its id for ever.
    services: BTreeMap<String, u64>,
    /// By commit; a commit keeps its ids, so posting it again is the same target.
    releases: BTreeMap<String, ReleaseIds>,
    /// Every volume that exists, with the definition it was made with.
    volumes: BTreeMap<String, VolumeDefinition>,
    /// An app of somebody else in the Supervisor's target.
    other_app: Option<u64>,
    last_id: u64,
    /// The commit this agent posted last.
    posted: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ReleaseIds {
    release_id: u64,
    /// By service name.
    images: BTreeMap<String, u64>,
}

/// The ids and settings that a target for one release is made with.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) app_id: u64,
    pub(super) app_name: Option<String>,
    pub(super) device_name: Option<String>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) release_id: u64,
    pub(super) services: BTreeMap<String, ServiceIds>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceIds {
    pub(super) service_id: u64,
    pub(super) image_id: u64,
}

impl TargetRecord {
    /// Takes over what the Supervisor's present target says: ids, volumes and configuration.
    pub(crate) fn adopt(&mut self, inspection: &Inspection, own_app: Option<u64>) {
        let app_id = own_app
            .or(self.app_id)
            .or_else(|| inspection.apps.keys().next().copied())
            .unwrap_or(FIRST_APP_ID);
        self.app_id = Some(app_id);
        self.device_name = inspection.name.clone().filter(|name| !name.is_empty());
        self.config = inspection.config.clone();
        self.other_app = inspection.apps.keys().copied().find(|id| *id != app_id);
        let Some(app) = inspection.apps.get(&app_id) else {
            return;
        };
        self.app_name = Some(app.name.clone());
        for (name, service) in &app.services {
            self.services.insert(name.clone(), service.service_id);
            self.last_id = self
                .last_id
                .max(service.service_id)
                .max(service.image_id)
                .max(service.release_id);
        }
        if let (Some(commit), Some(first)) = (&app.commit, app.services.values().next()) {
            let images = app.services.iter();
            let images = images.map(|(name, service)| (name.clone(), service.image_id));
            let ids = ReleaseIds {
                release_id: first.release_id,
                images: images.collect(),
            };
            self.releases.insert(commit.clone(), ids);
        }
        for (name, definition) in &app.volumes {
            let definition = VolumeDefinition::from_supervisor(definition);
            self.volumes.insert(name.clone(), definition);
        }
    }

    /// The app that is ours, once the Supervisor has been looked at.
    pub(crate) fn app_id(&self) -> Option<u64> {
        self.app_id
    }

    /// The image ids a commit was posted with, by service.
    pub(crate) fn images(&self, commit: &str) -> Option<&BTreeMap<String, u64>> {
        self.releases.get(commit).map(|ids| &ids.images)
    }

    /// The commit this agent posted last.
    pub(crate) fn posted(&self) -> Option<&str> {
        self.posted.as_deref()
    }

    /// Whether the Supervisor's target, for the app that is ours, is this commit.
    pub(crate) fn is_target(&self, inspection: &Inspection, commit: &str) -> bool {
        self.targeted(inspection) == Some(commit)
    }

    /// The commit that the Supervisor's target has for the app that is ours.
    pub(crate) fn targeted<'a>(&self, inspection: &'a Inspection) -> Option<&'a str> {
        inspection.apps.get(&self.app_id?)?.commit.as_deref()
    }

    pub(super) fn other_app(&self) -> Option<u64> {
        self.other_app
    }

    /// Whether a volume exists with another definition than this one.
    pub(super) fn volume_differs(&self, name: &str, definition: &VolumeDefinition) -> bool {
        self.volumes.get(name).is_some_and(|known| known != definition)
    }

    /// Takes the ids for a release's target and remembers its volumes and that it is posted.
    pub(super) fn claim(&mut self, release: &Release) -> Claimed {
        let ids = self.release_ids(release);
        let mut services = BTreeMap::new();
        for name in release.services.keys() {
            let service_id = self.service_id(name);
            let image_id = ids.images.get(name).copied().unwrap_or(ids.release_id);
            services.insert(name.clone(), ServiceIds { service_id, image_id });
        }
        for (name, definition) in &release.volumes {
            let definition = VolumeDefinition::from_compose(definition);
            self.volumes.insert(name.clone(), definition);
        }
        self.posted = Some(release.commit.clone());
        Claimed {
            app_id: *self.app_id.get_or_insert(FIRST_APP_ID),
            app_name: self.app_name.clone(),
            device_name: self.device_name.clone(),
            config: self.config.clone(),
            release_id: ids.release_id,
            services,
        }
    }

    fn service_id(&mut self, name: &str) -> u64 {
        if let Some(id) = self.services.get(name) {
            return *id;
        }
        let id = self.next_id();
        self.services.insert(name.to_owned(), id);
        id
    }

    /// A commit keeps its ids; a new one gets higher ones.
    fn release_ids(&mut self, release: &Release) -> ReleaseIds {
        let known = self.releases.get(&release.commit);
        if let Some(ids) = known.filter(|ids| ids.images.keys().eq(release.services.keys())) {
            return ids.clone();
        }
        let release_id = self.next_id();
        let images = release.services.keys();
        let images = images.map(|name| (name.clone(), self.next_id())).collect();
        let ids = ReleaseIds { release_id, images };
        self.releases.insert(release.commit.clone(), ids.clone());
        while self.releases.len() > REMEMBERED {
            let oldest = self.releases.iter().min_by_key(|(_, ids)| ids.release_id);
            let Some(oldest) = oldest.map(|(commit, _)| commit.clone()) else {
                break;
            };
            self.releases.remove(&oldest);
        }
        ids
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
