//! The documents of a registry, as far as they are needed. Members that are not known are ignored.

use baseos_interfaces::desired::PlatformImage;
use baseos_interfaces::limits::NUMBER_MAX;
use baseos_interfaces::rules::{is_digest, is_platform};
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
    ///
    /// # Errors
    /// What it is, when it is no name that a release may have.
    pub(super) fn name(&self) -> Result<Option<String>, &'static str> {
        if self.os == "unknown" || self.architecture == "unknown" {
            return Ok(None);
        }
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let variant = variant.filter(|variant| !(self.architecture == "arm64" && *variant == "v8"));
        let platform = format!("{}/{}", self.os, self.architecture);
        let name = match variant {
            Some(variant) => format!("{platform}/{variant}"),
            None => platform,
        };
        let name = is_platform(&name).then_some(name);
        name.map(Some)
            .ok_or("a platform that is not os/architecture[/variant]")
    }
}

impl Document {
    /// The image of a manifest, with what there is to download. Always has a digest.
    ///
    /// # Errors
    /// What it is, when it is no image that a release may have.
    pub(super) fn image(&self) -> Result<PlatformImage, &'static str> {
        let config = self.config.as_ref().filter(|config| is_digest(&config.digest));
        let config = config.ok_or("what is no manifest of an image")?;
        let size = self
            .layers
            .iter()
            .fold(config.size, |sum, layer| sum.saturating_add(layer.size));
        if size > NUMBER_MAX {
            return Err("an image of 2^53 bytes or more");
        }
        Ok(PlatformImage {
            config_digest: Some(config.digest.clone()),
            size_bytes: Some(size),
        })
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
        let is = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(name("linux", "amd64", None), is("linux/amd64"));
        assert_eq!(name("linux", "amd64", Some("")), is("linux/amd64"));
        assert_eq!(name("linux", "arm64", Some("v8")), is("linux/arm64"));
        assert_eq!(name("linux", "arm", Some("v7")), is("linux/arm/v7"));
        assert_eq!(name("unknown", "unknown", None), Ok(None));
        for bad in ["", "Linux", "lin ux", "linux\u{1b}[2J", "a/b/c"] {
            assert!(name(bad, "amd64", None).is_err(), "{bad:?}");
        }
    }
}
