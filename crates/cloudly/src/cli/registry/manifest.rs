//! The documents of a registry, as far as they are needed. Members that are not known are ignored.

use baseos_interfaces::desired::PlatformImage;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is known of an image, by platform.
pub(super) type Platforms = BTreeMap<String, PlatformImage>;

/// What is asked for: manifests and indexes of OCI and of docker.
pub(super) const MEDIA_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest, or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    /// Of an index.
    pub(super) manifests: Option<Vec<Descriptor>>,
    /// Of a manifest.
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

/// Where an image runs; a configuration has the same members.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
}

impl Platform {
    /// `os/architecture/variant`, without a variant that says nothing. `None`: no platform, such as the attestations that
    /// build tools add to an index.
    pub(super) fn name(&self) -> Option<String> {
        if self.os == "unknown" || self.architecture == "unknown" {
            return None;
        }
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let variant = variant.filter(|variant| !(self.architecture == "arm64" && *variant == "v8"));
        let platform = format!("{}/{}", self.os, self.architecture);
        Some(match variant {
            Some(variant) => format!("{platform}/{variant}"),
            None => platform,
        })
    }
}

impl Document {
    /// What there is to download of a manifest.
    pub(super) fn size(&self) -> u64 {
        let parts = self.config.iter().chain(&self.layers);
        parts.fold(0, |sum, part| sum.saturating_add(part.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_named_as_docker_does() {
        let name = |os: &str, architecture: &str, variant: Option<&str>| {
            let platform = Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            };
            platform.name()
        };
        assert_eq!(name("linux", "amd64", None).as_deref(), Some("linux/amd64"));
        assert_eq!(name("linux", "arm64", Some("v8")).as_deref(), Some("linux/arm64"));
        assert_eq!(name("linux", "arm", Some("v7")).as_deref(), Some("linux/arm/v7"));
        assert_eq!(name("unknown", "unknown", None), None);
    }
}
