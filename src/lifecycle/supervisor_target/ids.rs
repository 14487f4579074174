//! What the agent knows of the Supervisor's target and the ids in it. Part of the checkpoint, so it is on disk before
//! a target that uses it leaves; what the Supervisor's own GET returns cannot be posted back (observed).

use crate::lifecycle::facts::{Inspection, Run, TargetApp};
use crate::lifecycle::supervisor_target::images::DeviceImages;
use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::{GUARD_SERVICE, ImageUse, StatePlace, VolumeDefinition, state_place_in};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Releases whose ids are remembered.
const REMEMBERED: usize = 8;
/// The app id of a device whose Supervisor has no app yet.
const FIRST_APP_ID: u64 = 1;
/// Ids above it are taken over and never counted on from: the Supervisor is JavaScript, which counts to 2^53.
const COUNTED_MAX: u64 = 1 << 48;

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
    /// Where the agent of the present target keeps its state.
    state_place: Option<StatePlace>,
    /// An app of somebody else in the Supervisor's target.
    other_app: Option<u64>,
    last_id: u64,
    /// The commit this agent posted last.
    posted: Option<String>,
    /// The guard's image, and the image id it is posted with.
    guard_image: Option<(String, u64)>,
    /// The images that are and were there.
    images: DeviceImages,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ReleaseIds {
    release_id: u64,
    /// By service name.
    images: BTreeMap<String, u64>,
    /// References of the images, by service name.
    references: BTreeMap<String, String>,
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
pub(crate) struct ServiceIds {
    pub(super) service_id: u64,
    pub(super) image_id: u64,
}

impl TargetRecord {
    /// Takes over what the Supervisor's present target says: ids, volumes and configuration.
    pub(crate) fn adopt(&mut self, inspection: &Inspection, run: &Run) {
        let app_id = run
            .app_id
            .or(self.app_id)
            .or_else(|| inspection.apps.keys().next().copied())
            .unwrap_or(FIRST_APP_ID);
        self.app_id = Some(app_id);
        self.images.adopt(inspection);
        self.device_name = inspection.name.clone().filter(|name| !name.is_empty());
        self.config = inspection.config.clone();
        self.other_app = inspection.apps.keys().copied().find(|id| *id != app_id);
        let Some(app) = inspection.apps.get(&app_id) else {
            return;
        };
        self.app_name = Some(app.name.clone());
        self.adopt_ids(app);
        for (name, definition) in &app.volumes {
            let definition = VolumeDefinition::from_supervisor(definition);
            self.volumes.insert(name.clone(), definition);
        }
        if let Some(own) = app.services.get(&run.own_service) {
            self.state_place = state_place_in(&run.state_dir, &own.mounts);
        }
    }

    /// A target that somebody else made may use an id twice. Two services of one id would be one service in the next
    /// post, and two images of one id wedge the Supervisor, so an id that is not unique is not taken over.
    fn adopt_ids(&mut self, app: &TargetApp) {
        for (name, service) in &app.services {
            let ids = [service.service_id, service.image_id, service.release_id];
            let counted = ids.into_iter().filter(|id| *id <= COUNTED_MAX).max();
            self.last_id = self.last_id.max(counted.unwrap_or(0));
            self.services.retain(|_, id| *id != service.service_id);
            if service.service_id > 0 {
                self.services.insert(name.clone(), service.service_id);
            }
        }
        if let (Some(commit), Some(first)) = (&app.commit, app.services.values().next()) {
            // The guard is no part of a release; its ids are its own.
            let services = app.services.iter().filter(|(name, _)| *name != GUARD_SERVICE);
            let mut ids = ReleaseIds {
                release_id: first.release_id,
                ..ReleaseIds::default()
            };
            for (name, service) in services {
                ids.images.insert(name.clone(), service.image_id);
                ids.references.insert(name.clone(), service.image.clone());
            }
            if ids.are_unique() {
                self.releases.insert(commit.clone(), ids);
            }
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

    /// The reference of a service's image with this id, if it is one of a remembered release.
    pub(crate) fn reference(&self, service: &str, image_id: u64) -> Option<&str> {
        let mut releases = self.releases.values();
        let release = releases.find(|ids| ids.images.get(service) == Some(&image_id))?;
        release.references.get(service).map(String::as_str)
    }

    /// Whether the Supervisor has this image, as far as it said when it was last inspected.
    pub(crate) fn is_present(&self, reference: &str) -> bool {
        self.images.is_present(reference)
    }

    /// What an image needs, bytes, as the release that named it said.
    pub(crate) fn image_bytes(&self, reference: &str, platform: Option<&str>) -> Option<u64> {
        self.images.bytes(reference, platform)
    }

    /// Whether an image is known to be this one of the engine's.
    pub(crate) fn is_image_known_as(&self, reference: &str, digest: &str) -> bool {
        self.images.is_known_as(reference, digest)
    }

    /// The images this device has had.
    pub(super) fn image_uses(&self) -> impl Iterator<Item = ImageUse<'_>> {
        self.images.uses()
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

    /// Where the agent of the present target keeps its state, if that is known.
    pub(super) fn state_place(&self) -> Option<&StatePlace> {
        self.state_place.as_ref()
    }

    /// The guard has posted this commit for the agent.
    pub(crate) fn posted_by_guard(&mut self, commit: &str) {
        self.posted = Some(commit.to_owned());
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
        self.images.claim(release);
        Claimed {
            app_id: *self.app_id.get_or_insert(FIRST_APP_ID),
            app_name: self.app_name.clone(),
            device_name: self.device_name.clone(),
            config: self.config.clone(),
            release_id: ids.release_id,
            services,
        }
    }

    /// The ids of the guard: they are the same as long as its image is.
    pub(crate) fn guard_ids(&mut self, guard: &Service) -> ServiceIds {
        let service_id = self.service_id(GUARD_SERVICE);
        let known = self
            .guard_image
            .as_ref()
            .filter(|(image, _)| *image == guard.image);
        let image_id = known.map(|(_, id)| *id).unwrap_or_else(|| self.next_id());
        self.guard_image = Some((guard.image.clone(), image_id));
        ServiceIds { service_id, image_id }
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
        let services = release.services.iter();
        let references: BTreeMap<_, _> = services
            .map(|(name, service)| (name.clone(), service.image.clone()))
            .collect_tree();
        let known = self.releases.get_mut(&release.commit);
        let fits = |ids: &&mut ReleaseIds| ids.are_unique() && ids.images.keys().eq(release.services.keys());
        if let Some(ids) = known.filter(fits) {
            ids.references = references;
            return ids.clone();
        }
        let release_id = self.next_id();
        let images = release.services.keys();
        let images = images.map(|name| (name.clone(), self.next_id())).collect_tree();
        let ids = ReleaseIds {
            release_id,
            images,
            references,
        };
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
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }
}

impl ReleaseIds {
    fn are_unique(&self) -> bool {
        let mut images: Vec<_> = self.images.values().collect();
        images.sort_unstable();
        images.dedup();
        images.len() == self.images.len() && self.release_id > 0 && !images.contains(&&0)
    }
}
