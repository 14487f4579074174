//! Images that are on the device and no longer needed. An unmanaged Supervisor keeps every image it has fetched (observed);
//! a managed one removes them itself. The agent has no way to the engine, so it says what can be removed.

use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::update::platform::platform;
use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::rules::ImageReference;
use baseos_interfaces::status::UnusedImage;

/// Images that are listed.
const LISTED_MAX: usize = 32;

/// None while it is not known what all that runs needs: a release that somebody else handed over.
pub(crate) fn unused_images(l: &Shared, state: &State) -> Vec<UnusedImage> {
    let Some(view) = l.view().filter(|view| !view.managed) else {
        return Vec::new();
    };
    let releases: Vec<_> = needed_releases(l, state).collect();
    let runs_known = releases
        .iter()
        .any(|release| view.release.as_ref() == Some(&release.commit));
    if !runs_known {
        return Vec::new();
    }
    let guard = l.durable.guard.service.as_ref();
    let needed: Vec<_> = releases
        .iter()
        .flat_map(|release| release.services.values())
        .chain(guard)
        .collect();
    let platform = l.run.node.architecture.as_deref().and_then(platform);
    let target = &l.durable.target;
    let unused = view.present_images.iter().filter(|present| {
        let is_needed = |service: &&Service| {
            is_same_reference(&service.image, present)
                || service
                    .config_digests()
                    .any(|(_, digest)| target.is_image_known_as(present, digest))
        };
        !needed.iter().any(is_needed)
    });
    unused
        .take(LISTED_MAX)
        .map(|image| UnusedImage {
            image: image.clone(),
            size_bytes: target.image_bytes(image, platform),
        })
        .collect()
}

/// What runs, what is to run, and what could be gone back to.
fn needed_releases<'a>(l: &'a Shared, state: &'a State) -> impl Iterator<Item = &'a Release> {
    let durable = &l.durable;
    let superseded = durable.superseded.as_ref();
    [
        durable.proven.as_ref(),
        durable.previous.as_ref(),
        durable.fallback.as_ref(),
        durable.desired_app().map(|app| &app.release),
        superseded.map(|superseded| &superseded.update.release),
        state.update().map(|update| &update.release),
    ]
    .into_iter()
    .flatten()
}

/// Whether the Supervisor means one image by both: it drops the tag beside a digest, and reads `latest` where there is
/// neither.
fn is_same_reference(one: &str, other: &str) -> bool {
    one == other
        || match (ImageReference::parse(one), ImageReference::parse(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one.strip_suffix(":latest") == Some(other) || other.strip_suffix(":latest") == Some(one),
        }
}

#[cfg(test)]
mod tests {
    use super::is_same_reference;

    #[test]
    fn a_tag_beside_a_digest_is_dropped_and_no_tag_is_latest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let (with_tag, without) = (format!("r:5000/app:1@{digest}"), format!("r:5000/app@{digest}"));
        for (one, other, same) in [
            ("app:1", "app:1", true),
            ("app:1", "app:2", false),
            ("app", "app:latest", true),
            ("app", "app:1", false),
            (&with_tag, &without, true),
            (&with_tag, "r:5000/app:1", false),
        ] {
            assert_eq!(is_same_reference(one, other), same, "{one} {other}");
            assert_eq!(is_same_reference(other, one), same, "{other} {one}");
        }
    }
}
