//! The configuration, valid.

use super::layer::Source;
use crate::vault::Endpoint;
use baseos_interfaces::token::Token;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the agent is told, valid and merged. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Cloudly is; `None`: the state file may know, see [`Settings::cloudly_or_stored`].
    pub cloudly: Option<Endpoint>,
    /// The join token, or why the text is none. Not an error of the configuration: a node that is enrolled must
    /// start with it all the same.
    pub join: Option<Result<Token, String>>,
    /// `state.json`, the journal.
    pub state_dir: PathBuf,
    /// The local API's socket and token.
    pub run_dir: PathBuf,
    /// balena's update-lock files.
    pub lock_dir: PathBuf,
    /// This node's name for people; `None`: the host's.
    pub node_name: Option<String>,
    /// For operators.
    pub labels: BTreeMap<String, String>,
    /// The name of the agent's own service in a release.
    pub service: String,
    /// Which tracing targets are logged at which level, e.g. `info,baserunner::lifecycle=debug`.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where the local API listens.
    pub api: ApiAddress,
    /// The `Host` names a TCP request may carry, in lower case, without ports.
    pub api_hosts: Vec<String>,
    /// How often the Supervisor is looked at when nothing is going on.
    pub supervisor_poll: Duration,
    /// Free space below which nothing is installed, bytes.
    pub reserve_bytes: u64,
    /// How large the journal may become, bytes.
    pub journal_bytes: u64,
    /// How the Supervisor is reached; `None`: it gave no address, or no key.
    pub supervisor: Option<SupervisorAccess>,
    /// `BALENA_APP_ID`.
    pub app_id: Option<u64>,
    /// What the Supervisor says of the device.
    pub device: Device,
    /// `SERVEZONE_RUNTIME`, what Onebox is told it runs on.
    pub runtime: Option<String>,
    /// What is odd and does not stop the agent.
    pub warnings: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Where the local API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// On a socket in the file system.
    Unix(PathBuf),
    /// On TCP.
    Tcp(SocketAddr),
}

/// How the Supervisor is reached.
#[derive(Clone, Debug)]
pub struct SupervisorAccess {
    /// Its base URL, without a slash at its end.
    pub address: String,
    /// The key it gave this app.
    pub api_key: SecretString,
}

/// What the Supervisor says of the device it runs on.
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
    /// The version in it.
    pub os_version: Option<String>,
}

/// One line of what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key, by its environment variable's name.
    pub key: &'static str,
    /// The value, `***` for a secret; `None`: not set.
    pub value: Option<String>,
    /// Where it comes from; `None`: not set.
    pub source: Option<Source>,
}

impl Settings {
    /// What is in force and why, for `baserunner config`: a row for each key there is.
    pub fn effective(&self) -> &[Row] {
        &self.rows
    }

    /// Where Cloudly is: as configured, else as the state file remembers. A release that forgets the environment
    /// must not lose the box.
    pub fn cloudly_or_stored(&self, stored: Option<Endpoint>) -> Option<Endpoint> {
        self.cloudly.clone().or(stored)
    }
}
