//! The images a device has had. The Supervisor looks an image up by its name, and an unmanaged one keeps old images, so a
//! new image must not share its name with any of them ([`check_images`](baseos_interfaces::rules::check_images)).

use crate::lifecycle::facts::Inspection;
use crate::lifecycle::update::target::Release;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::ImageUse;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// References that are remembered; the one that was used longest ago is forgotten first.
const REMEMBERED: usize = 64;
/// References on the engine that are remembered.
const PRESENT_MAX: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DeviceImages {
    /// By reference.
    had: BTreeMap<String, Had>,
    /// References that the Supervisor said are on the engine, when it was last inspected.
    present: BTreeSet<String>,
    last_use: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Had {
    /// The release that named it last; empty: it was on the device already.
    commit: String,
    /// Digests of its configuration by platform, as far as they were known.
    config_digests: BTreeMap<String, String>,
    /// What it needs, as the operator said, bytes.
    size_bytes: Option<u64>,
    /// What there was to download, by platform, bytes.
    platform_bytes: BTreeMap<String, u64>,
    used: u64,
}

impl DeviceImages {
    /// What the Supervisor has.
    pub(super) fn adopt(&mut self, inspection: &Inspection) {
        self.present = inspection
            .view
            .present_images
            .iter()
            .take(PRESENT_MAX)
            .cloned()
            .collect_tree();
        let targets = inspection.apps.values().flat_map(|app| app.services.values());
        let targets = targets
            .map(|service| &service.image)
            .filter(|image| !image.is_empty());
        for reference in inspection.view.present_images.iter().chain(targets) {
            if !self.had.contains_key(reference) {
                self.remember(reference).commit = String::new();
            }
        }
    }

    /// A release is handed over.
    pub(super) fn claim(&mut self, release: &Release) {
        for service in release.services.values() {
            let had = self.remember(&service.image);
            had.commit.clone_from(&release.commit);
            for (platform, digest) in service.config_digests() {
                had.config_digests.insert(platform.to_owned(), digest.to_owned());
            }
            had.size_bytes = service.size_bytes.or(had.size_bytes);
            let sizes = service.platforms.iter();
            let sizes = sizes.filter_map(|(platform, image)| Some((platform.clone(), image.size_bytes?)));
            had.platform_bytes.extend(sizes);
        }
    }

    pub(super) fn is_present(&self, reference: &str) -> bool {
        self.present.contains(reference)
    }

    /// What an image needs, bytes, as the release that named it said.
    pub(super) fn bytes(&self, reference: &str, platform: Option<&str>) -> Option<u64> {
        let had = self.had.get(reference)?;
        had.size_bytes
            .or_else(|| had.platform_bytes.get(platform?).copied())
    }

    /// Whether an image is known to be this one of the engine's.
    pub(super) fn is_known_as(&self, reference: &str, digest: &str) -> bool {
        let had = self.had.get(reference);
        had.is_some_and(|had| had.config_digests.values().any(|known| known == digest))
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = ImageUse<'_>> {
        self.had.iter().map(|(reference, had)| ImageUse {
            by: if had.commit.is_empty() {
                "this device"
            } else {
                &had.commit
            },
            reference,
            config_digests: had
                .config_digests
                .iter()
                .map(|(platform, digest)| (platform.as_str(), digest.as_str()))
                .collect_tree(),
        })
    }

    fn remember(&mut self, reference: &str) -> &mut Had {
        self.last_use += 1;
        if !self.had.contains_key(reference) && self.had.len() >= REMEMBERED {
            let oldest = self.had.iter().min_by_key(|(_, had)| had.used);
            if let Some(oldest) = oldest.map(|(reference, _)| reference.clone()) {
                self.had.remove(&oldest);
            }
        }
        let had = self.had.entry(reference.to_owned()).or_default();
        had.used = self.last_use;
        had
    }
}
