//! Does a release run? Decided from what is observed, never from an answer to a call.

use crate::lifecycle::facts::{AppState, Container, SupervisorView};
use crate::lifecycle::update::predecessors::Predecessors;
use crate::lifecycle::update::target::{Release, Service};
use std::collections::{BTreeMap, BTreeSet};

/// What the Supervisor's state says about a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is applied and every service's container runs.
    Healthy,
    /// It is applied, but not everything runs: what was seen.
    Unhealthy(Vec<String>),
    /// It is said to be applied, but a service runs another image than the release names: what was seen.
    WrongImage(Vec<String>),
    /// It is applied and every service's container runs, but which image cannot be told at present: what was seen.
    Unknown(Vec<String>),
    /// The Supervisor is still at it: what was seen.
    Pending(Vec<String>),
    /// Another release is applied, and the Supervisor has finished.
    Elsewhere(Option<String>),
}

/// What is known before the look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'a> {
    /// The image ids that the release was posted with, by service.
    pub(crate) images: Option<&'a BTreeMap<String, u64>>,
    /// What ran before it.
    pub(crate) predecessors: Option<&'a Predecessors>,
    /// The services that operators stopped. The Supervisor starts none that it has started before, so they stay as they are
    /// with a release that keeps their containers.
    pub(crate) stopped: Option<&'a BTreeSet<String>>,
}

/// Judges. Applied is exactly: `appState == "applied"`, `release` is the commit, and every service has a container
/// `Running` with the image id that was posted (observed: nothing else the Supervisor says is reliable). A managed
/// Supervisor gives its own image ids; then `images` is `None` and the name alone counts.
///
/// None of that says which image runs: the Supervisor takes another one of the same repository for it and renames the
/// old container, ids included (observed: S2a). So the engine's image has to be the one that the release names, and
/// where the release does not say which that is, a service with another reference must have another container.
/// A managed Supervisor fetches what its backend made of the release, so there neither is compared.
pub(crate) fn judge(view: &SupervisorView, release: &Release, known: Known<'_>) -> Judgement {
    let applied = view.release.as_deref() == Some(release.commit.as_str());
    let seen = || -> Vec<String> {
        release
            .services
            .iter()
            .filter_map(|(name, service)| missing(view, (name, service), known))
            .collect()
    };
    match (view.app_state, applied) {
        (AppState::Applied, true) => {
            let (wrong, unknown) = images_seen(view, release, known.predecessors);
            let seen = seen();
            if !wrong.is_empty() {
                Judgement::WrongImage(wrong)
            } else if !seen.is_empty() {
                Judgement::Unhealthy(seen)
            } else if !unknown.is_empty() {
                Judgement::Unknown(unknown)
            } else {
                Judgement::Healthy
            }
        }
        (AppState::Applied, false) => Judgement::Elsewhere(view.release.clone()),
        (AppState::Applying | AppState::Other, _) => {
            let mut seen = seen();
            if view.update_failed {
                seen.push("the Supervisor reports a failed step and is trying again".to_owned());
            }
            Judgement::Pending(seen)
        }
    }
}

/// The services that run another image than the release names, and those of which that cannot be told.
fn images_seen(
    view: &SupervisorView,
    release: &Release,
    predecessors: Option<&Predecessors>,
) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    if view.managed {
        return (wrong, unknown);
    }
    for (name, service) in &release.services {
        let kept = predecessors
            .and_then(|predecessors| predecessors.get(name))
            .filter(|before| {
                before.reference != service.image && has_container(view, name, &before.container_id)
            });
        let is_meant = view
            .images
            .get(name)
            .map(|image| (image, service.is_meant(image)));
        match (is_meant, kept) {
            (Some((image, Some(false))), _) => {
                wrong.push(format!(
                    "{name}: runs image {image}, which {} does not name",
                    service.image
                ));
            }
            // The same image under another name: the container is right to stay. Otherwise the name leads to the right
            // image and the container is still an old one's.
            (Some((_, Some(true))), Some(before)) => {
                let image = before.engine_image.as_deref();
                if image.and_then(|image| service.is_meant(image)) == Some(false) {
                    wrong.push(format!("{name}: still the container of {}", before.reference));
                }
            }
            (None, _) if service.config_digests().next().is_some() => {
                unknown.push(format!("{name}: which image it runs is not known"));
            }
            (_, Some(before)) => wrong.push(format!("{name}: still the container of {}", before.reference)),
            (_, None) => {}
        }
    }
    (wrong, unknown)
}

fn has_container(view: &SupervisorView, service: &str, id: &str) -> bool {
    view.containers
        .iter()
        .any(|container| container.service == service && container.container_id == id)
}

/// What is wrong with one service, if anything.
fn missing(
    view: &SupervisorView,
    (service, definition): (&String, &Service),
    known: Known<'_>,
) -> Option<String> {
    let wanted = known.images.and_then(|images| images.get(service));
    let mut containers = view
        .containers
        .iter()
        .filter(|container| container.service == *service)
        .peekable();
    if containers.peek().is_none() {
        return Some(format!("{service}: no container"));
    }
    let current: Vec<_> = containers
        .filter(|container| wanted.is_none_or(|image| container.image_id == *image))
        .collect();
    if current.is_empty() {
        return Some(format!("{service}: still the container of another release"));
    }
    let well = |container: &&Container| {
        container.is_running() || definition.is_done(&container.status) || is_left_stopped(container, known)
    };
    if current.iter().any(well) {
        return None;
    }
    current
        .first()
        .map(|container| format!("{service}: {}", container.status))
}

/// Whether an operator stopped this very container.
fn is_left_stopped(container: &Container, known: Known<'_>) -> bool {
    let before = |predecessors: &Predecessors| {
        let before = predecessors.get(&container.service);
        before.is_some_and(|before| before.container_id == container.container_id)
    };
    known
        .stopped
        .is_some_and(|stopped| stopped.contains(&container.service))
        && known.predecessors.is_none_or(before)
}

#[cfg(test)]
mod tests;
