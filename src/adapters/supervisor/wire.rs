//! The Supervisor's answers. They vary between versions, so members may be missing or `null`, and unknown ones are
//! ignored.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `GET /v1/device`. Its `status` and `download_progress` are outdated during an update and are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Device {
    /// One or more, separated by spaces.
    pub(super) ip_address: Option<String>,
    /// One or more, separated by spaces.
    pub(super) mac_address: Option<String>,
    /// e.g. `balenaOS 6.5.24`.
    pub(super) os_version: Option<String>,
    /// e.g. `19.0.5`.
    pub(super) supervisor_version: Option<String>,
    pub(super) update_failed: Option<bool>,
    pub(super) update_downloaded: Option<bool>,
}

/// `GET /v2/version`.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `GET /v2/state/status`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) app_state: Option<String>,
    #[serde(default)]
    pub(super) overall_download_progress: Option<f64>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) containers: Vec<ContainerStatus>,
    pub(super) release: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) images: Vec<ImageStatus>,
}

/// Without the engine's id, which can be outdated (E4).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImageStatus {
    /// The reference.
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatus {
    pub(super) status: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) image_id: Option<u64>,
    pub(super) container_id: Option<String>,
    pub(super) created_at: Option<String>,
}

/// `GET /v2/local/target-state`. It contains the environments of the services, including secrets, so its types have no
/// `Debug`.
#[derive(Deserialize)]
pub(super) struct TargetState {
    pub(super) state: State,
}

#[derive(Deserialize)]
pub(super) struct State {
    pub(super) local: Local,
}

#[derive(Deserialize)]
pub(super) struct Local {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) apps: BTreeMap<String, App>,
}

/// An app of the target, in the Supervisor's internal form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct App {
    #[serde(default)]
    pub(super) app_name: Option<String>,
    #[serde(default)]
    pub(super) commit: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) services: Vec<Service>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) volumes: Vec<Volume>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) networks: Vec<Network>,
}

#[derive(Deserialize)]
pub(super) struct Network {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) service_name: String,
    #[serde(default)]
    pub(super) service_id: Option<u64>,
    #[serde(default)]
    pub(super) image_id: Option<u64>,
    #[serde(default)]
    pub(super) release_id: Option<u64>,
    #[serde(default)]
    pub(super) image_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) depends_on: Vec<String>,
    /// What its container is made with.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Volume {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
}

/// Reads `null` as the default, like a missing member.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}
