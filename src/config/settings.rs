//! The validated configuration.

use super::error::ConfigError;
use super::source::Source;
use crate::proxy::ProxyChoice;
use crate::telemetry::logs::{LogFilter, LogFormat};
use crate::vault::Endpoint;
use baseos_interfaces::token::Token;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The merged and validated configuration. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Cloudly is; `None`: the state file may hold it, see [`Settings::cloudly_or_stored`].
    pub cloudly: Option<Endpoint>,
    /// How Cloudly is reached; `None`: through the host's proxy if it has one.
    pub proxy: Option<ProxyChoice>,
    /// The join token, or why the text is not one. Not a configuration error: an enrolled node must start all the
    /// same.
    pub join: Option<Result<Token, String>>,
    /// Directory of `state.json` and the journal.
    pub state_dir: PathBuf,
    /// Directory of the local API's socket and token.
    pub run_dir: PathBuf,
    /// Directory of balena's update-lock files.
    pub lock_dir: PathBuf,
    /// The node's display name; `None`: the host name.
    pub node_name: Option<String>,
    /// Labels sent with the registration.
    pub labels: BTreeMap<String, String>,
    /// The name of the agent's own service in a release.
    pub service: String,
    pub log: LogFilter,
    pub log_format: LogFormat,
    /// Where the local API listens.
    pub api: ApiAddress,
    /// The `Host` names a TCP request may carry, in lower case, without ports.
    pub api_hosts: Vec<String>,
    /// Interval between polls of the Supervisor while no update is under way.
    pub supervisor_poll: Duration,
    /// Free space below which no update is installed, bytes.
    pub reserve_bytes: u64,
    /// Size limit of the journal, bytes.
    pub journal_bytes: u64,
    /// How long a new agent may take to prove itself before the guard puts the previous one back.
    pub guard_budget: Duration,
    /// `None`: the Supervisor's address or its key is not set.
    pub supervisor: Option<SupervisorAccess>,
    /// `BALENA_APP_ID`.
    pub app_id: Option<u64>,
    pub device: Device,
    /// `SERVEZONE_RUNTIME`, the runtime that Onebox detects.
    pub runtime: Option<String>,
    /// Settings that are probably a mistake but do not keep the agent from starting.
    pub warnings: Vec<String>,
    /// Values that are not right and count as not set; among the warnings too.
    pub problems: Vec<ConfigError>,
    pub(super) effective: Vec<EffectiveValue>,
}

/// Where the local API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// How the Supervisor is reached.
#[derive(Clone, Debug)]
pub struct SupervisorAccess {
    /// Its base URL, without a trailing slash.
    pub address: String,
    /// The key it issued to this app.
    pub api_key: SecretString,
}

/// The device as the Supervisor's environment variables describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `BALENA_DEVICE_UUID`.
    pub uuid: Option<String>,
    /// `BALENA_DEVICE_TYPE`, e.g. `generic-amd64`.
    pub kind: Option<String>,
    /// `BALENA_DEVICE_ARCH`, e.g. `aarch64`.
    pub architecture: Option<String>,
    /// The name in `BALENA_HOST_OS_VERSION` (`balenaOS 6.5.24`).
    pub os_name: Option<String>,
    /// The version in `BALENA_HOST_OS_VERSION`.
    pub os_version: Option<String>,
}

/// One row of `baserunner config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// The key's environment variable.
    pub key: &'static str,
    /// The value, `***` for a secret; `None`: not set.
    pub value: Option<String>,
    /// `None`: not set.
    pub source: Option<Source>,
}

impl Settings {
    /// The effective value of every key, for `baserunner config`.
    pub fn effective(&self) -> &[EffectiveValue] {
        &self.effective
    }

    /// Where Cloudly is: as configured, else as stored in the state file. A release without the environment variable
    /// must not cut the node off from Cloudly.
    pub fn cloudly_or_stored(&self, stored: Option<Endpoint>) -> Option<Endpoint> {
        self.cloudly.clone().or(stored)
    }
}
