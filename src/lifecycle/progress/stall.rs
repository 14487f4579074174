//! What to make of an attempt in which nothing got on for as long as the policy allows.

use crate::lifecycle::progress::hindrance::is_not_the_releases_fault;
use crate::lifecycle::progress::tracker::names;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use crate::lifecycle::update::target::Release;
use baseos_interfaces::codes::ErrorCode;

/// Whose fault it is. A release is only bad when it ran, or was begun to be put in place, and was bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Nothing can be seen at present.
    Unseen,
    /// Something other than the release: a pull, a lock, a full disk, a Supervisor that waits, or nothing that is known
    /// before a container was changed. The Supervisor goes on trying by itself.
    HeldUp(UpdateError),
    /// Containers were changed for the release, and it does not come up.
    Release(UpdateError),
}

pub(crate) fn judge_stall(l: &Shared, update: &Update, now: Stamp) -> Stall {
    let Some(view) = l.view() else {
        return Stall::Unseen;
    };
    let judgement = l.judge(view, &update.release, Some(&update.predecessors));
    // Somebody put another release there, or the Supervisor does not say which image runs: that says nothing about this one.
    let says_nothing = matches!(judgement, Judgement::Elsewhere(_) | Judgement::Unknown(_));
    let mut evidence = match judgement {
        Judgement::Pending(seen)
        | Judgement::Unknown(seen)
        | Judgement::Unhealthy(seen)
        | Judgement::WrongImage(seen) => seen,
        Judgement::Healthy | Judgement::Elsewhere(_) => Vec::new(),
    };
    if let Some(percent) = *update.progress {
        evidence.push(format!("download at {percent} %"));
    }
    let blockers = update.blocked().iter();
    evidence.extend(blockers.map(Blocker::in_words));
    let timeout = l.durable.policy().apply_timeout().as_secs();
    let message = format!("no progress for {timeout} s");
    let error = UpdateError::new(ErrorCode::ApplyTimeout, message, evidence, now);
    let held_up = is_not_the_releases_fault(update.blocked());
    if held_up || says_nothing || !is_begun(l, &update.release) {
        Stall::HeldUp(error)
    } else {
        Stall::Release(error)
    }
}

/// The Supervisor has changed containers for the release and has tried for long to start one of them, with nothing else
/// in its way: what it is made of (its command, its architecture, a mount, a port) does not let it start.
///
/// `release` is the one that `update` puts in place, or goes back to.
pub(crate) fn start_failed(
    l: &Shared,
    release: &Release,
    update: &Update,
    now: Stamp,
) -> Option<UpdateError> {
    let (service, tries) = l.progress.hopeless_start(update.since.boot, now.boot)?;
    let of_release = release.services.contains_key(service);
    if !of_release || is_not_the_releases_fault(update.blocked()) || !is_begun(l, release) {
        return None;
    }
    let message = format!("the container of {service} cannot be started, in {tries} tries");
    let evidence = update.blocked().iter().map(Blocker::in_words).collect();
    Some(UpdateError::new(ErrorCode::StartFailed, message, evidence, now))
}

/// Whether the Supervisor has changed containers for this release. It fetches all images and takes all locks first.
pub(crate) fn is_begun(l: &Shared, release: &Release) -> bool {
    let Some(view) = l.view() else { return false };
    let images = l.durable.target.images(&release.commit);
    let shown = view.containers.iter().any(|container| match images {
        Some(images) => images.get(&container.service) == Some(&container.image_id),
        // A managed Supervisor gives its own ids.
        None => !container.is_running(),
    });
    shown || l.progress.is_changing() || view.release.as_deref() == Some(release.commit.as_str())
}

/// The image of the release that a registry answered it does not have.
pub(crate) fn image_not_found(release: &Release, image: &str, now: Stamp) -> Option<UpdateError> {
    let of_release = release
        .services
        .values()
        .any(|service| names(image, &service.image));
    of_release.then(|| {
        let message = format!("the registry has no image {image}");
        UpdateError::new(ErrorCode::ImageNotFound, message, Vec::new(), now)
    })
}
