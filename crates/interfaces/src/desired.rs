//! Desired state: what Cloudly wants of a node (contract §4, answer).

use crate::Timestamp;
use crate::collect::CollectTree as _;
use crate::rules::ImageUse;
use crate::window::Window;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The agent's service in a release that does not name it.
pub const DEFAULT_AGENT_SERVICE: &str = "baserunner";

/// A revision of what is desired. It only rises, unless an operator resets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// Rises with every change; at most [`crate::limits::NUMBER_MAX`].
    #[serde(deserialize_with = "crate::limits::number")]
    pub revision: u64,
    /// When this revision was set, Cloudly's clock.
    pub issued_at: Timestamp,
    /// An audited operator act: this revision counts although it is lower.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// The app release; `null`: none is desired.
    pub app: Option<DesiredApp>,
    /// The release that the node reports to run, in full, where Cloudly knows it: what an agent that has not put it in
    /// place itself goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Release>,
    /// The host OS release; not in version 1 (`null`).
    #[serde(default)]
    pub host_os: Option<Value>,
}

/// The desired app release with what governs its application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredApp {
    /// The release itself.
    #[serde(flatten)]
    pub release: Release,
    /// `rol_…`, when it is part of a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_id: Option<String>,
    /// The rollout's permission to begin; missing: none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// When and how it may be applied.
    #[serde(default)]
    pub policy: Policy,
}

/// An app release: everything the Supervisor needs to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// `rel_…`.
    pub release_id: String,
    /// The balena commit: 7 to 64 hex digits, lower case, at least one letter.
    pub commit: String,
    /// For people, e.g. `1.13.0`; 1 to 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which service is the agent; missing: [`DEFAULT_AGENT_SERVICE`]. An agent that runs under another name refuses the
    /// release, which would not bring it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_service: Option<String>,
    /// By service name.
    pub services: BTreeMap<String, Service>,
    /// Named volumes and their definitions (compose form).
    #[serde(default)]
    pub volumes: BTreeMap<String, Map<String, Value>>,
    /// Networks and their definitions (compose form).
    #[serde(default)]
    pub networks: BTreeMap<String, Map<String, Value>>,
}

impl Release {
    /// The name of the service that is the agent.
    pub fn agent_service(&self) -> &str {
        self.agent_service.as_deref().unwrap_or(DEFAULT_AGENT_SERVICE)
    }
}

/// One service of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The image reference: `repository:tag` with a tag that no other image uses, or `repository@sha256:…` in a
    /// repository that no other image uses ([`crate::rules::check_images`]).
    pub image: String,
    /// Environment variables of the container.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Labels of the container; those of balena give it features of the Supervisor.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Other compose keys (`volumes`, `network_mode`, `command` …).
    #[serde(default)]
    pub composition: Map<String, Value>,
    /// How much the image needs on disk, on any platform, if the operator knows it, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What the registry says of the image, by platform (`linux/amd64`, `linux/arm/v7`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<String, PlatformImage>,
}

impl Service {
    /// A service that is only its image.
    pub fn of_image(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            composition: Map::new(),
            size_bytes: None,
            platforms: BTreeMap::new(),
        }
    }

    /// The image for [`crate::rules::check_images`], with who uses it.
    pub fn image_use<'a>(&'a self, by: &'a str) -> ImageUse<'a> {
        let digests = self.platforms.iter().filter_map(|(platform, image)| {
            let digest = image.config_digest.as_deref()?;
            Some((platform.as_str(), digest))
        });
        ImageUse {
            by,
            reference: &self.image,
            config_digests: digests.collect_tree(),
        }
    }
}

/// An image on one platform, as its registry has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformImage {
    /// The digest of its configuration, `sha256:<hex>`: the engine's id of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// What there is to download: its layers as the registry keeps them, and its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// A rollout's permission to begin, a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Whether this node may begin.
    pub granted: bool,
    /// When the permission ends, Cloudly's clock; missing: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
}

/// When and how an update may be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Maintenance windows; none: at any time.
    pub windows: Vec<Window>,
    /// How long the device may defer and locks may hold, in all, seconds.
    pub max_defer_seconds: u32,
    /// How often a release is tried on a node.
    pub max_attempts: u32,
    /// How long the release must stay healthy, seconds.
    pub health_seconds: u32,
    /// How long nothing may get on while the Supervisor fetches and starts it, seconds.
    pub apply_timeout_seconds: u32,
    /// What to do with a bad release that has been put in place.
    pub on_failure: OnFailure,
    /// What to do about a service of the running release that has stopped.
    pub heal: Heal,
    /// Whether somebody at the device must approve first.
    pub require_local_approval: bool,
    /// Whether an update that could not be undone is held back (`rollbackImpossible`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_rollback: bool,
    /// An audited order to go ahead despite window, deferral, approval and locks, and despite known-bad memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            max_defer_seconds: 604_800,
            max_attempts: 3,
            health_seconds: 120,
            apply_timeout_seconds: 3600,
            on_failure: OnFailure::Rollback,
            heal: Heal::Restart,
            require_local_approval: false,
            require_rollback: false,
            force: None,
        }
    }
}

/// What to do with a bad release that has been put in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Re-apply the previous release.
    #[default]
    Rollback,
    /// Wait for the operator in rollback-needed.
    Report,
    /// A value this version does not know; treated like `Report`, the choice that touches nothing.
    #[serde(other)]
    Unknown,
}

/// What to do about a service of the running release that has stopped. A crash loop is only reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Heal {
    /// Start a container that has exited; hand the release over again when a container is missing.
    #[default]
    Restart,
    /// Only hand the release over again when a container is missing.
    Repost,
    /// Nothing but to report it.
    Report,
    /// A value this version does not know; treated like `Report`, the choice that touches nothing.
    #[serde(other)]
    Unknown,
}

/// Who ordered an update to go ahead, and why; kept in Cloudly's audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Force {
    /// Who ordered it.
    pub by: String,
    /// Why, for the audit log.
    pub reason: String,
    /// When Cloudly takes it back, with a higher revision; Cloudly's clock. Cloudly sets it, an agent need not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_up_to_the_largest_number() {
        let read = |revision: u64| {
            let json =
                serde_json::json!({ "revision": revision, "issuedAt": "2026-11-24T10:00:00Z", "app": null });
            serde_json::from_value::<Desired>(json).map(|desired| desired.revision)
        };
        assert_eq!(
            read(crate::limits::NUMBER_MAX).unwrap(),
            crate::limits::NUMBER_MAX
        );
        for too_large in [crate::limits::NUMBER_MAX + 1, u64::MAX] {
            let error = read(too_large).unwrap_err().to_string();
            assert!(error.contains("below 2^53"), "{error}");
        }
    }
}
