//! The model's data, its clock and its timers.

use crate::json::Json;
use crate::supervisor::apply_state::{Apply, Step};
use crate::supervisor::config::Config;
use crate::supervisor::container::{Container, ImageRow, StopReason};
use crate::supervisor::effect::Effect;
use crate::supervisor::image_store::ImageStore;
use crate::supervisor::pull_failures::PullFailures;
use crate::supervisor::registry::Registry;
use crate::supervisor::target::{App, Service, Target};
use crate::supervisor::timer::Timer;
use crate::supervisor::update_locks::UpdateLocks;
use std::collections::BTreeMap;
use std::time::Duration;

/// A restart that is being carried out; it is answered when it is done.
#[derive(Debug)]
pub(crate) struct PendingRestart {
    pub(crate) ticket: u64,
    pub(crate) services: Vec<(App, Service)>,
    /// Of the whole app: the target is applied afterwards, also during a back-off (u05-force).
    pub(crate) whole_app: bool,
}

pub struct Supervisor {
    pub(crate) config: Config,
    /// May be changed at any time.
    pub registry: Registry,
    pub(crate) locks: Box<dyn UpdateLocks>,
    pub(crate) now: Duration,
    timers: BTreeMap<(Duration, u64), Timer>,
    last_number: u64,
    pub(crate) effects: Vec<Effect>,
    /// Whether the Supervisor's process runs.
    pub(crate) is_up: bool,
    pub(crate) containers: Vec<Container>,
    pub(crate) stopping: BTreeMap<String, StopReason>,
    pub(crate) images: ImageStore,
    pub(crate) volumes: BTreeMap<String, Json>,
    pub(crate) rows: Vec<ImageRow>,
    pub(crate) commits: BTreeMap<u64, String>,
    pub(crate) target: Target,
    pub(crate) target_version: u64,
    pub(crate) name: String,
    pub(crate) backend: Option<Target>,
    pub(crate) apply: Apply,
    pub(crate) pull_failures: PullFailures,
    pub(crate) restart: Option<PendingRestart>,
    /// What `POST /v2/journal-logs` returns, newest last.
    pub journal: Vec<String>,
    /// What happened, with the model's time; for messages of failing tests.
    pub log: Vec<(Duration, String)>,
    pub(crate) boots: u64,
}

impl Supervisor {
    /// A Supervisor that has just started and has no target.
    pub fn new(config: Config, registry: Registry, locks: Box<dyn UpdateLocks>) -> Self {
        Self {
            config,
            registry,
            locks,
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            last_number: 0,
            effects: Vec::new(),
            is_up: true,
            containers: Vec::new(),
            stopping: BTreeMap::new(),
            images: ImageStore::default(),
            volumes: BTreeMap::new(),
            rows: Vec::new(),
            commits: BTreeMap::new(),
            target: Target::default(),
            target_version: 0,
            name: "local".to_owned(),
            backend: None,
            apply: Apply::default(),
            pull_failures: PullFailures::default(),
            restart: None,
            journal: Vec::new(),
            log: Vec::new(),
            boots: 0,
        }
    }

    /// When [`Supervisor::advance`] has to be called next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Fires everything that is due until then, in order.
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

    /// What has to be done outside, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether the API answers.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// The containers, oldest first.
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    pub fn container(&self, service: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.service == service)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether an apply is going on (back-off included): `appState` is `applying`.
    pub fn is_applying(&self) -> bool {
        self.apply.step != Step::Idle
    }

    /// What the apply loop is doing.
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
            Timer::RestartStart => self.restart_start(),
            Timer::RestartDone => self.restart_done(),
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
        let number = self.next_number();
        self.timers.insert((self.now + delay, number), timer);
    }

    pub(crate) fn cancel(&mut self, which: impl Fn(&Timer) -> bool) {
        self.timers.retain(|_, timer| !which(timer));
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.log.push((self.now, line.into()));
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("now", &self.now)
            .field("is_up", &self.is_up)
            .field("apply", &self.apply)
            .field("containers", &self.containers)
            .finish_non_exhaustive()
    }
}
