//! A service's image: which one is meant, and what it needs.

use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::ImageUse;

impl Service {
    /// Whether the engine's image is the one that is meant; `None`: it is not known which one is.
    ///
    /// Any platform's will do: the engine chooses from an index, and its choice is not always this agent's platform (a
    /// 32-bit system on a 64-bit kernel).
    pub(crate) fn is_meant(&self, engine_image: &str) -> Option<bool> {
        let mut digests = self.config_digests().map(|(_, digest)| digest).peekable();
        digests.peek()?;
        Some(digests.any(|digest| digest == engine_image))
    }

    pub(crate) fn config_digests(&self) -> impl Iterator<Item = (&str, &str)> {
        let platforms = self.platforms.iter();
        platforms.filter_map(|(platform, image)| Some((platform.as_str(), image.config_digest.as_deref()?)))
    }

    /// What its image needs, bytes: what the operator says, else what the registry says of this platform, else of the
    /// platform that needs most. 0 if nobody knows.
    pub(crate) fn needed_bytes(&self, platform: Option<&str>) -> u64 {
        let largest = || self.platforms.values().filter_map(|image| image.size_bytes).max();
        let of_platform = platform.and_then(|platform| self.platforms.get(platform)?.size_bytes);
        self.size_bytes.or(of_platform).or_else(largest).unwrap_or(0)
    }
}

impl Release {
    /// Its images, each used by its service.
    pub(crate) fn image_uses(&self) -> Vec<ImageUse<'_>> {
        let services = self.services.iter();
        services.map(|(name, service)| image_use(name, service)).collect()
    }

    /// Its images, each used by this release.
    pub(crate) fn images_of_release(&self) -> impl Iterator<Item = ImageUse<'_>> {
        self.services
            .values()
            .map(|service| image_use(&self.commit, service))
    }
}

fn image_use<'a>(by: &'a str, service: &'a Service) -> ImageUse<'a> {
    ImageUse {
        by,
        reference: &service.image,
        config_digests: service.config_digests().collect_tree(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::update::platform::{PlatformImage, platform};

    fn service(platforms: &[(&str, Option<&str>, Option<u64>)]) -> Service {
        let image = |(platform, digest, size): &(&str, Option<&str>, Option<u64>)| {
            let image = PlatformImage {
                config_digest: digest.map(str::to_owned),
                size_bytes: *size,
            };
            ((*platform).to_owned(), image)
        };
        Service {
            platforms: platforms.iter().map(image).collect(),
            ..Service::default()
        }
    }

    #[test]
    fn the_image_of_any_platform_is_meant() {
        let known = service(&[
            ("linux/amd64", Some("sha256:a"), None),
            ("linux/arm64", Some("sha256:b"), None),
        ]);
        assert_eq!(known.is_meant("sha256:a"), Some(true));
        assert_eq!(known.is_meant("sha256:b"), Some(true));
        assert_eq!(known.is_meant("sha256:c"), Some(false));
        assert_eq!(service(&[]).is_meant("sha256:a"), None);
        assert_eq!(
            service(&[("linux/amd64", None, Some(1))]).is_meant("sha256:a"),
            None
        );
    }

    #[test]
    fn the_operators_size_comes_first_and_an_unknown_platform_counts_the_largest() {
        let mut service = service(&[("linux/amd64", None, Some(10)), ("linux/arm64", None, Some(20))]);
        assert_eq!(service.needed_bytes(platform("amd64")), 10);
        assert_eq!(service.needed_bytes(platform("aarch64")), 20);
        assert_eq!(service.needed_bytes(platform("armv7hf")), 20);
        assert_eq!(service.needed_bytes(None), 20);
        service.size_bytes = Some(5);
        assert_eq!(service.needed_bytes(platform("aarch64")), 5);
        assert_eq!(Service::default().needed_bytes(None), 0);
    }
}
