//! Does a release run? Decided from what is observed, never from an answer to a call.

use crate::lifecycle::facts::{AppState, Container, SupervisorView};
use crate::lifecycle::update::target::{Release, Service};
use std::collections::BTreeMap;

/// What the Supervisor's state says about a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is applied and every service's container runs.
    Healthy,
    /// It is applied, but not everything runs: what was seen.
    Unhealthy(Vec<String>),
    /// The Supervisor is still at it: what was seen.
    Pending(Vec<String>),
    /// Another release is applied, and the Supervisor has finished.
    Elsewhere(Option<String>),
}

/// Judges. Applied is exactly: `appState == "applied"`, `release` is the commit, and every service has a container
/// `Running` with the image id that was posted (observed: nothing else the Supervisor says is reliable). A managed
/// Supervisor gives its own image ids; then `images` is `None` and the name alone counts.
pub(crate) fn judge(
    view: &SupervisorView,
    release: &Release,
    images: Option<&BTreeMap<String, u64>>,
) -> Judgement {
    let applied = view.release.as_deref() == Some(release.commit.as_str());
    let seen = || -> Vec<String> {
        release
            .services
            .iter()
            .filter_map(|(name, service)| missing(view, (name, service), images))
            .collect()
    };
    match (view.app_state, applied) {
        (AppState::Applied, true) => {
            let seen = seen();
            if seen.is_empty() {
                Judgement::Healthy
            } else {
                Judgement::Unhealthy(seen)
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

/// What is wrong with one service, if anything.
fn missing(
    view: &SupervisorView,
    (service, definition): (&String, &Service),
    images: Option<&BTreeMap<String, u64>>,
) -> Option<String> {
    let wanted = images.and_then(|images| images.get(service));
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
    let well = |container: &&Container| container.is_running() || definition.is_done(&container.status);
    if current.iter().any(well) {
        return None;
    }
    current
        .first()
        .map(|container| format!("{service}: {}", container.status))
}

#[cfg(test)]
mod tests;
