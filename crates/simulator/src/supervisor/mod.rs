//! The Supervisor as a model: its state, the container engine below it, the apply loop, and its HTTP API.
//!
//! Nothing here reads a clock or touches a process. Time is an argument; what has to be done outside comes back as
//! [`Effect`]s. The behaviour was observed on balena-supervisor 19.0.5. Comments name the recording that shows it
//! (`recordings/*.jsonl`), or say "observed" where it was seen and not recorded.

mod actions;
mod api;
mod apply;
mod apply_state;
mod changes;
mod config;
mod container;
mod effect;
mod engine;
mod environment;
mod image_store;
mod locking;
mod model;
mod parse_target;
mod power;
mod pull_failures;
mod pulls;
mod registry;
mod routes;
mod system_log;
mod target;
mod target_view;
mod timer;
mod timing;
mod update_locks;
mod validate;
mod views;
mod volume_definition;

pub use api::{Answer, Reply, Request};
pub use apply_state::Step;
pub use config::Config;
pub use container::{Container, ContainerState, ImageRow};
pub use effect::{Effect, StartProcess};
pub use model::Supervisor;
pub use registry::{Behaviour, Image, Pull, Registry};
pub use target::{App, Service, ServiceConfig, Target};
pub use timing::Timing;
pub use update_locks::{LOCK_NAMES, LockFiles, LocksInMemory, UpdateLocks};
