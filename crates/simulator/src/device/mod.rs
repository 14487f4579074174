//! The device around a Supervisor: real time, an HTTP API, directories, and the agent as a real process.
//!
//! ```text
//! <dir>/volumes/<app id>_<name>   named volumes; `baseos:/data/baseos` becomes the agent's BASEOS_STATE_DIR
//! <dir>/run                       BASEOS_RUN_DIR, shared by all services
//! <dir>/locks/<app id>/<service>  BASEOS_LOCK_DIR: what a container sees as /tmp/balena
//! <dir>/log/<service>.log         standard output and error of its process
//! <dir>/boot_id                   changes with every boot
//! ```

mod body;
mod config;
mod control_api;
mod effects;
mod faults;
mod handle;
mod http;
mod log_streams;
mod operations;
mod process;
mod request_log;
mod shared;
mod supervisor_api;

pub use config::{DeviceConfig, OnLine};
pub use faults::{Fault, FaultKind};
pub use handle::Device;
pub use log_streams::LogListeners;
pub use request_log::LoggedRequest;
