//! Platforms of images.

use baseos_interfaces::desired as wire;
use baseos_interfaces::rules::is_digest;
use serde::{Deserialize, Serialize};

/// An image on one platform, as its registry has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PlatformImage {
    /// The digest of its configuration: the engine's id of the image.
    pub(crate) config_digest: Option<String>,
    /// What there is to download.
    pub(crate) size_bytes: Option<u64>,
}

/// The platform of an image for an architecture, which is named as balena does.
pub(crate) fn platform(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("linux/amd64"),
        "i386" => Some("linux/386"),
        "aarch64" => Some("linux/arm64"),
        "armv7hf" => Some("linux/arm/v7"),
        "rpi" => Some("linux/arm/v6"),
        _ => None,
    }
}

impl From<&wire::PlatformImage> for PlatformImage {
    fn from(image: &wire::PlatformImage) -> Self {
        Self {
            // What is no digest can be compared with none.
            config_digest: image.config_digest.clone().filter(|digest| is_digest(digest)),
            size_bytes: image.size_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_digest_is_not_known() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, known) in [(digest.as_str(), true), ("sha256:a", false), ("", false)] {
            let wire = wire::PlatformImage {
                config_digest: Some(text.to_owned()),
                size_bytes: Some(1),
            };
            let image = PlatformImage::from(&wire);
            assert_eq!(
                (image.config_digest.is_some(), image.size_bytes),
                (known, Some(1)),
                "{text}"
            );
        }
    }
}
