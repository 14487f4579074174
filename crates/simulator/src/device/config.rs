//! What a device is made from.

use crate::supervisor::{Config, Registry, Timing};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Called with the service and the line, for each line that a process writes.
pub type OnLine = Arc<dyn Fn(&str, &str) + Send + Sync>;

#[derive(Clone, Default)]
pub struct DeviceConfig {
    /// `None`: a temporary directory that is removed with the device.
    pub dir: Option<PathBuf>,
    /// `address`, `api_port` and `epoch_millis` are set by the device.
    pub supervisor: Config,
    pub registry: Registry,
    /// The program of every service whose image is [`crate::supervisor::Behaviour::Process`].
    pub program: Option<PathBuf>,
    /// Programs of single images; they take precedence over `program`.
    pub programs_by_image: BTreeMap<String, PathBuf>,
    /// Variables for those processes; they take precedence over the release's.
    pub environment: BTreeMap<String, String>,
    /// Where the Supervisor listens; `None`: a free port of the loopback interface.
    pub listen: Option<SocketAddr>,
    /// Where the control API listens; `None`: a free port of the loopback interface.
    pub control: Option<SocketAddr>,
    pub on_line: Option<OnLine>,
}

impl DeviceConfig {
    /// A device with [`Timing::fast`].
    pub fn fast() -> Self {
        Self {
            supervisor: Config {
                timing: Timing::fast(),
                ..Config::default()
            },
            ..Self::default()
        }
    }
}
