//! The images of releases: what their registries say of them, and that no two share a name.

use super::error::{Error, Result};
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::{PlatformImage, Release, Service};
use baseos_interfaces::limits::{NUMBER_MAX, PLATFORMS_MAX};
use baseos_interfaces::problem::pointer;
use baseos_interfaces::rules::{ImageReference, check_images, is_digest, is_platform};
use std::collections::{BTreeMap, BTreeSet};

/// Refuses what is no platform, digest or size.
pub(super) fn check_platforms(release: &CreateRelease) -> Result<()> {
    let mut services = release.services.iter();
    services.try_for_each(|(name, service)| platforms(name, &service.platforms))
}

fn platforms(service: &str, platforms: &BTreeMap<String, PlatformImage>) -> Result<()> {
    let at = |members: &[&str]| pointer(["services", service, "platforms"].iter().chain(members).copied());
    if platforms.len() > PLATFORMS_MAX {
        let message = format!("an image has at most {PLATFORMS_MAX} platforms");
        return Err(Error::field(at(&[]), FieldCode::TooMany, message));
    }
    for (platform, image) in platforms {
        if !is_platform(platform) {
            let message =
                "a platform is os/architecture or os/architecture/variant, e.g. linux/amd64 or linux/arm/v7";
            return Err(Error::field(at(&[]), FieldCode::NotAPlatform, message));
        }
        if image
            .config_digest
            .as_deref()
            .is_some_and(|digest| !is_digest(digest))
        {
            let message = "a configDigest is sha256: and 64 hex digits in lower case";
            return Err(Error::field(
                at(&[platform, "configDigest"]),
                FieldCode::NotADigest,
                message,
            ));
        }
        if image.size_bytes.is_some_and(|bytes| bytes > NUMBER_MAX) {
            let message = "sizeBytes is below 2^53";
            return Err(Error::field(
                at(&[platform, "sizeBytes"]),
                FieldCode::TooLarge,
                message,
            ));
        }
    }
    Ok(())
}

/// The repositories of a release's images.
pub(super) fn repositories(release: &Release) -> BTreeSet<&str> {
    let images = release.services.values().map(|service| service.image.as_str());
    images
        .filter_map(|image| Some(ImageReference::parse(image)?.repository))
        .collect()
}

/// Refuses an image that a device could take for one of another release. `others` are the services of other releases,
/// each with its release's commit.
pub(super) fn check(release: &Release, others: &[(String, Service)]) -> Result<()> {
    let uses = release
        .services
        .iter()
        .map(|(name, service)| service.image_use(name));
    let others: Vec<_> = others
        .iter()
        .map(|(commit, service)| service.image_use(commit))
        .collect();
    check_images(&uses.collect::<Vec<_>>(), &others).map_err(Error::ReleaseRefused)
}

/// Takes into a known release what a registry says of its images, where nothing was known. Whether there was anything.
pub(super) fn gain_platforms(known: &mut Release, again: &Release) -> bool {
    let mut gained = false;
    for (name, service) in &mut known.services {
        let Some(again) = again.services.get(name) else {
            continue;
        };
        if service.platforms.is_empty() && !again.platforms.is_empty() {
            service.platforms.clone_from(&again.platforms);
            gained = true;
        }
    }
    gained
}

/// What a registry says of an image does not belong to a release's contents where only one of both says it: it was not
/// reached the other time.
pub(super) fn take_over_platforms(release: &mut Release, known: &Release) {
    for (name, service) in &mut release.services {
        let Some(known) = known.services.get(name) else {
            continue;
        };
        if service.platforms.is_empty() || known.platforms.is_empty() {
            service.platforms.clone_from(&known.platforms);
        }
    }
}
