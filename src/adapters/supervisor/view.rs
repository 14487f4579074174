//! The view of the Supervisor, assembled from several answers.

use super::client::SupervisorClient;
use super::request::{Key, Request};
use super::wire::{ContainerStatus, Device, ImageStatus, Status, TargetState, Version};
use crate::lifecycle::facts::{AppState, Container, SupervisorError, SupervisorErrorKind, SupervisorView};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::is_digest;
use baseos_interfaces::status::OsStatus;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tracing::debug;

const DEVICE: &str = "/v1/device";
const STATUS: &str = "/v2/state/status";
pub(super) const TARGET: &str = "/v2/local/target-state";
/// References of images on the engine that are taken in.
const PRESENT_MAX: usize = 256;

/// Facts that rarely change and are not read for every view.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    version: Option<String>,
    managed: Option<bool>,
    images: Option<Images>,
}

/// The engine's images, and what was applied when they were read.
#[derive(Clone, Debug)]
struct Images {
    applied: Applied,
    by_service: BTreeMap<String, String>,
}

type Applied = (AppState, Option<String>, Vec<Container>);

impl Cache {
    /// Makes the next view check again whether the Supervisor requires a key. This changes when a backend is
    /// configured; the Supervisor then restarts, possibly unnoticed between two views.
    pub(super) fn forget_managed(&mut self) {
        self.managed = None;
    }
}

/// Reads the view with the engine's images. They are read anew when something was applied or replaced since, or always.
/// Where they cannot be read they are not known, which is no reason to call the Supervisor unavailable: nothing is judged
/// by them then.
///
/// # Errors
/// The error of the first other request that failed.
pub(super) async fn read_view_with_images(
    client: &SupervisorClient,
    cache: &mut Cache,
    always: bool,
) -> Result<SupervisorView, SupervisorError> {
    let mut view = read_view(client, cache).await?;
    let applied = (view.app_state, view.release.clone(), view.containers.clone());
    let known = cache.images.take();
    cache.images = match known.filter(|known| !always && known.applied == applied) {
        Some(known) => Some(known),
        None => match client.read::<TargetState>(Request::get(TARGET)).await {
            Ok(target) => Some(Images {
                applied,
                by_service: engine_images(&target),
            }),
            Err(error) => {
                debug!(%error, "which images the engine has is not known");
                view.images_problem = Some(error.message);
                None
            }
        },
    };
    if let Some(images) = &cache.images {
        view.images.clone_from(&images.by_service);
    }
    Ok(view)
}

/// The engine's image of each service. Where two apps have a service of one name, it is left out.
pub(super) fn engine_images(target: &TargetState) -> BTreeMap<String, String> {
    let services = target.state.local.apps.values().flat_map(|app| &app.services);
    let mut images: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
    for service in services {
        // The engine's id of the image, looked up for this answer; the reference while there is no such image (E4).
        let image = service.config.get("image").and_then(Value::as_str);
        let image = image.filter(|image| is_digest(image));
        images.entry(&service.service_name).or_default().push(image);
    }
    let one = |(service, images): (&str, Vec<Option<&str>>)| match images[..] {
        [Some(image)] => Some((service.to_owned(), image.to_owned())),
        _ => None,
    };
    images.into_iter().filter_map(one).collect_tree()
}

/// Reads the view without the engine's images; fills `cache`, and empties it on an error.
///
/// # Errors
/// The error of the first request that failed.
pub(super) async fn read_view(
    client: &SupervisorClient,
    cache: &mut Cache,
) -> Result<SupervisorView, SupervisorError> {
    let view = try_read_view(client, cache).await;
    if view.is_err() {
        *cache = Cache::default();
    }
    view
}

async fn try_read_view(
    client: &SupervisorClient,
    cache: &mut Cache,
) -> Result<SupervisorView, SupervisorError> {
    let device: Device = client.read(Request::get(DEVICE)).await?;
    let status: Status = client.read(Request::get(STATUS)).await?;
    let managed = match cache.managed {
        Some(managed) => managed,
        None => requires_key(client).await?,
    };
    cache.managed = Some(managed);
    // Most Supervisors include their version in this answer; the others are asked for it once.
    let version = match (&device.supervisor_version, &cache.version) {
        (Some(version), _) | (None, Some(version)) => version.clone(),
        (None, None) => client.read::<Version>(Request::get("/v2/version")).await?.version,
    };
    cache.version = Some(version.clone());
    Ok(view(&device, status, managed, version))
}

/// Whether an invalid key is refused.
async fn requires_key(client: &SupervisorClient) -> Result<bool, SupervisorError> {
    match client
        .read::<IgnoredAny>(Request::get(DEVICE).with_key(Key::Invalid))
        .await
    {
        Ok(_) => Ok(false),
        Err(error) if error.kind == SupervisorErrorKind::Unauthorized => Ok(true),
        Err(error) => Err(error),
    }
}

fn view(device: &Device, status: Status, managed: bool, version: String) -> SupervisorView {
    SupervisorView {
        version,
        managed,
        app_state: match status.app_state.as_deref() {
            Some("applied") => AppState::Applied,
            Some("applying") => AppState::Applying,
            _ => AppState::Other,
        },
        release: status.release.filter(|release| !release.is_empty()),
        download_percent: status.overall_download_progress.map(percent),
        containers: status.containers.into_iter().map(container).collect(),
        images: BTreeMap::new(),
        images_problem: None,
        present_images: present(status.images),
        update_failed: device.update_failed.unwrap_or(false),
        update_downloaded: device.update_downloaded.unwrap_or(false),
        ip_addresses: split_addresses(device.ip_address.as_deref()),
        mac_addresses: split_addresses(device.mac_address.as_deref()),
        os: os(device.os_version.as_deref()),
    }
}

/// The references of the images that are there, which those being fetched or deleted are not. An unmanaged Supervisor
/// lists some of them several times (observed).
fn present(images: Vec<ImageStatus>) -> Vec<String> {
    let is_there = |image: &ImageStatus| image.status.as_deref() == Some("Downloaded");
    let there = images.into_iter().filter(is_there);
    let there: BTreeSet<_> = there.filter_map(|image| image.name).collect();
    there.into_iter().take(PRESENT_MAX).collect()
}

fn container(status: ContainerStatus) -> Container {
    Container {
        service: status.service_name.unwrap_or_default(),
        status: status.status.unwrap_or_default(),
        image_id: status.image_id.unwrap_or_default(),
        container_id: status.container_id.unwrap_or_default(),
        created_at: status.created_at.unwrap_or_default(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 100 fits; NaN becomes 0"
)]
fn percent(progress: f64) -> u8 {
    progress.clamp(0.0, 100.0) as u8
}

fn split_addresses(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Splits a text like `balenaOS 6.5.24` into name and version.
fn os(text: Option<&str>) -> OsStatus {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let (name, version) = match text.map(|text| text.rsplit_once(' ').ok_or(text)) {
        Some(Ok((name, version))) => (Some(name.trim()), Some(version)),
        Some(Err(name)) => (Some(name), None),
        None => (None, None),
    };
    OsStatus {
        name: name.map(str::to_owned),
        version: version.map(str::to_owned),
        variant: None,
    }
}
