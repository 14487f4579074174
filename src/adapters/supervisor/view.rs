//! One look at the Supervisor, put together from several answers.

use super::client::SupervisorClient;
use super::request::{Key, Request};
use super::wire::{ContainerStatus, Device, Status, Version};
use crate::lifecycle::facts::{AppState, Container, SupervisorError, SupervisorErrorKind, SupervisorView};
use baseos_interfaces::status::OsStatus;
use serde::de::IgnoredAny;

const DEVICE: &str = "/v1/device";

/// What need not be asked again at every look.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    version: Option<String>,
    managed: Option<bool>,
}

impl Known {
    /// Asks again at the next look whether the Supervisor wants a key: it changes when a backend is set, and a
    /// Supervisor restarts then, which may fall between two looks.
    pub(super) fn doubt_managed(&mut self) {
        self.managed = None;
    }
}

/// Looks once. What is found out for good is kept in `known`; a failure forgets all of it.
///
/// # Errors
/// That of the first request that failed.
pub(super) async fn look(
    client: &SupervisorClient,
    known: &mut Known,
) -> Result<SupervisorView, SupervisorError> {
    let seen = try_look(client, known).await;
    if seen.is_err() {
        *known = Known::default();
    }
    seen
}

async fn try_look(client: &SupervisorClient, known: &mut Known) -> Result<SupervisorView, SupervisorError> {
    let device: Device = client.read(Request::get(DEVICE)).await?;
    let status: Status = client.read(Request::get("/v2/state/status")).await?;
    let managed = match known.managed {
        Some(managed) => managed,
        None => asks_for_a_key(client).await?,
    };
    known.managed = Some(managed);
    // Most Supervisors say their version with every answer; the others are asked once.
    let version = match (&device.supervisor_version, &known.version) {
        (Some(version), _) | (None, Some(version)) => version.clone(),
        (None, None) => client.read::<Version>(Request::get("/v2/version")).await?.version,
    };
    known.version = Some(version.clone());
    Ok(view(&device, status, managed, version))
}

/// Whether a key that cannot be right is refused.
async fn asks_for_a_key(client: &SupervisorClient) -> Result<bool, SupervisorError> {
    match client
        .read::<IgnoredAny>(Request::get(DEVICE).with(Key::Wrong))
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
        update_failed: device.update_failed.unwrap_or(false),
        ip_addresses: words(device.ip_address.as_deref()),
        mac_addresses: words(device.mac_address.as_deref()),
        os: os(device.os_version.as_deref()),
    }
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

fn words(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// `balenaOS 6.5.24`: the last word is the version.
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
