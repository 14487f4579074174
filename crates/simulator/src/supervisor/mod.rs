//! The Supervisor as a model: state, an engine below it, an apply loop, and the calls of its HTTP API.
//!
//! Nothing here reads a clock or touches a process. Time is an argument; what has to be done outside comes back as
//! [`Effect`]s. What it imitates was observed on balena-supervisor 19.0.5; the recordings are in `recordings/`.

mod actions;
mod apply;
mod calls;
mod container;
mod engine;
mod environment;
mod locking;
mod locks;
mod power;
mod registry;
mod syslog;
mod target;
mod timing;
mod validate;
mod views;
mod views_target;
mod work;

pub use apply::Step;
pub use calls::{Answer, Reply, Request};
pub use container::{Container, ContainerState, ImageRow};
pub use locks::{LOCK_NAMES, LockFiles, LockTable, Locks};
pub use registry::{Behaviour, Image, Pull, Registry};
pub use target::{App, Refusal, Service, ServiceConfig, Target, read_local, read_v3};
pub use timing::Timing;

use crate::json::Json;
use apply::Apply;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a Supervisor is and where it runs. The defaults are those of the recordings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The device's uuid, 32 hex digits.
    pub uuid: String,
    /// The global API key of a managed Supervisor; an unmanaged one asks for none.
    pub api_key: String,
    /// Whether a backend gives it its target (`apiEndpoint` is set).
    pub managed: bool,
    /// Its version.
    pub version: String,
    /// The host OS, name and version.
    pub os_version: String,
    /// Architecture, as in `device-type.json`.
    pub arch: String,
    /// Device type slug.
    pub device_type: String,
    /// The device's addresses, separated by spaces.
    pub ip_address: String,
    /// The device's hardware addresses, separated by spaces.
    pub mac_address: String,
    /// Where containers reach this API: `BALENA_SUPERVISOR_ADDRESS`.
    pub address: String,
    /// The port it listens on, as it reports it.
    pub api_port: u16,
    /// How long things take.
    pub timing: Timing,
    /// Wall clock at model time zero, milliseconds since 1970.
    pub epoch_millis: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            uuid: "d15ca1ab1e0ddba11c0ffee0cafe0001".to_owned(),
            api_key: "5f0e1d2c3b4a59687766554433221100".to_owned(),
            managed: false,
            version: "19.0.5".to_owned(),
            os_version: "balenaOS 6.5.24".to_owned(),
            arch: "amd64".to_owned(),
            device_type: "generic-amd64".to_owned(),
            ip_address: "198.51.100.2".to_owned(),
            mac_address: "B6:65:30:CB:33:D1".to_owned(),
            address: "http://127.0.0.1:48484".to_owned(),
            api_port: 48484,
            timing: Timing::recorded(),
            epoch_millis: 1_795_389_000_000,
        }
    }
}

/// What has to be done outside the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start the process of a container whose image is [`Behaviour::Process`].
    Start(StartProcess),
    /// SIGTERM, then after the grace SIGKILL; report the end with [`Supervisor::process_exited`].
    Stop {
        /// The container's id.
        container: String,
        /// How long it has.
        grace: Duration,
    },
    /// SIGKILL.
    Kill {
        /// The container's id.
        container: String,
    },
    /// Answer a call that was answered with [`Reply::Later`].
    Answer {
        /// Which one.
        ticket: u64,
        /// With this.
        answer: Answer,
    },
    /// Make an empty volume.
    MakeVolume {
        /// `<app id>_<name>`
        name: String,
    },
    /// Remove a volume and its data.
    WipeVolume {
        /// `<app id>_<name>`
        name: String,
    },
    /// A line of the Supervisor's system log.
    SystemLine(String),
    /// The API stops listening.
    Down,
    /// The API listens.
    Up,
    /// The device begins to boot: processes are gone, tmpfs is empty.
    Booted,
}

/// A process to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartProcess {
    /// The container's id.
    pub container: String,
    /// To be given back with its end.
    pub incarnation: u64,
    /// The app.
    pub app_id: u64,
    /// The service.
    pub service: String,
    /// The image reference.
    pub image: String,
    /// Its volumes as in the compose file: `name:/path`.
    pub volumes: Vec<String>,
    /// The container's environment.
    pub environment: Vec<(String, String)>,
}

/// Something due later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Plan,
    PullDone(String),
    StartDone,
    Commit,
    Finish,
    Applied,
    OpStart,
    OpDone,
    Exit { container: String, incarnation: u64 },
    EngineStart { container: String, incarnation: u64 },
    Stopped { container: String },
    PowerOff,
    Boot,
    SupervisorUp,
}

impl Timer {
    /// Whether it dies with the Supervisor's process; the rest belongs to the engine and the device.
    fn is_supervisors(&self) -> bool {
        matches!(
            self,
            Self::Plan
                | Self::PullDone(_)
                | Self::StartDone
                | Self::Commit
                | Self::Finish
                | Self::Applied
                | Self::OpStart
                | Self::OpDone
        )
    }
}

/// Whether the API answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It answers.
    Up,
    /// The process is not there.
    Down,
}

/// The model.
pub struct Supervisor {
    pub(crate) config: Config,
    /// What is behind the image references; may be changed at any time.
    pub registry: Registry,
    pub(crate) locks: Box<dyn Locks>,
    pub(crate) now: Duration,
    timers: BTreeMap<(Duration, u64), Timer>,
    next: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) power: Power,
    pub(crate) containers: Vec<Container>,
    pub(crate) stopping: BTreeMap<String, engine::StopFor>,
    pub(crate) images: BTreeSet<String>,
    pub(crate) volumes: BTreeMap<String, Json>,
    pub(crate) rows: Vec<ImageRow>,
    pub(crate) commits: BTreeMap<u64, String>,
    pub(crate) target: Target,
    pub(crate) target_version: u64,
    pub(crate) name: String,
    pub(crate) backend: Option<Target>,
    pub(crate) apply: Apply,
    pub(crate) op: Option<actions::Op>,
    /// What `POST /v2/journal-logs` returns, newest last.
    pub journal: Vec<String>,
    /// What the Supervisor logged, with the model's time; for messages of failing tests.
    pub log: Vec<(Duration, String)>,
    pub(crate) boots: u64,
}

impl Supervisor {
    /// A Supervisor that has just started and has no target.
    pub fn new(config: Config, registry: Registry, locks: Box<dyn Locks>) -> Self {
        Self {
            config,
            registry,
            locks,
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            next: 0,
            effects: Vec::new(),
            power: Power::Up,
            containers: Vec::new(),
            stopping: BTreeMap::new(),
            images: BTreeSet::new(),
            volumes: BTreeMap::new(),
            rows: Vec::new(),
            commits: BTreeMap::new(),
            target: Target::default(),
            target_version: 0,
            name: "local".to_owned(),
            backend: None,
            apply: Apply::default(),
            op: None,
            journal: Vec::new(),
            log: Vec::new(),
            boots: 0,
        }
    }

    /// When [`Supervisor::advance`] has to be called next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Lets time pass: everything due until then happens, in order.
    pub fn advance(&mut self, now: Duration) {
        while let Some((at, _)) = self.timers.keys().next().copied()
            && at <= now
        {
            self.now = self.now.max(at);
            if let Some((_, timer)) = self.timers.pop_first() {
                self.fire(timer);
            }
        }
        self.now = self.now.max(now);
    }

    /// What has to be done outside, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether the API answers.
    pub fn is_up(&self) -> bool {
        self.power == Power::Up
    }

    /// The containers, oldest first.
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.service == service)
    }

    /// The target it works on.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether an apply is going on (back-off included): `appState` is `applying`.
    pub fn is_applying(&self) -> bool {
        self.apply.step != Step::Idle
    }

    /// What the apply is doing.
    pub fn step(&self) -> Step {
        self.apply.step
    }

    /// Rises with each boot of the device.
    pub fn boots(&self) -> u64 {
        self.boots
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Plan => self.plan(),
            Timer::PullDone(image) => self.pull_done(&image),
            Timer::StartDone => self.start_done(),
            Timer::Commit => self.commit(),
            Timer::Finish => self.finish(),
            Timer::Applied => self.applied(),
            Timer::OpStart => self.op_start(),
            Timer::OpDone => self.op_done(),
            Timer::Exit {
                container,
                incarnation,
            } => self.simulated_exit(&container, incarnation),
            Timer::EngineStart {
                container,
                incarnation,
            } => self.engine_start(&container, incarnation),
            Timer::Stopped { container } => self.stopped(&container),
            Timer::PowerOff => self.power_off(),
            Timer::Boot => self.boot(),
            Timer::SupervisorUp => self.supervisor_up(),
        }
    }

    pub(crate) fn after(&mut self, delay: Duration, timer: Timer) {
        self.next += 1;
        self.timers.insert((self.now + delay, self.next), timer);
    }

    pub(crate) fn cancel(&mut self, which: impl Fn(&Timer) -> bool) {
        self.timers.retain(|_, timer| !which(timer));
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.log.push((self.now, line.into()));
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("now", &self.now)
            .field("power", &self.power)
            .field("apply", &self.apply)
            .field("containers", &self.containers)
            .finish_non_exhaustive()
    }
}
