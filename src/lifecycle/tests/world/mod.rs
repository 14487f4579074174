//! A world for the machine to live in, as pure as the machine: a Cloudly, a Supervisor and clocks that only move
//! when told. Actions say what happens next; the world turns them into events that could really come.

mod actions;
mod cloudly;
mod faults;
mod guard;
mod log;
mod releases;
mod requests;
mod supervisor;
mod tokens;

pub(crate) use actions::{Action, CommandKind, Line, LocalRequest, PolicyKind, Reply, View};
pub(crate) use releases::{commit, desired_app, release};
use requests::{join_offer, local_call};
use tokens::Tokens;

use super::model::Model;
use crate::lifecycle::effect::{LocalAnswer, OpId, Port, RequestId};
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::facts::{HostFacts, JoinOffer, PresentRelease, Run};
use crate::lifecycle::report::size_limit::cut_status;
use crate::lifecycle::report::status::node_status;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::{Checkpoint, Effect, Event, Machine, Step};
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::Command;
use baseos_interfaces::desired::{Desired, Release};
use baseos_interfaces::hash::status_hash;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::register::{NodeFacts, ServerLimits};
use std::collections::BTreeMap;
use std::time::Duration;

/// The highest number of attempts in the world's policies.
pub(crate) const MAX_ATTEMPTS: u32 = 2;
const APP: u64 = 7;

/// The world's check of settings.
fn no_broken_setting(environment: &BTreeMap<String, String>, _: &str) -> Vec<String> {
    let broken = environment.get("BROKEN");
    broken
        .into_iter()
        .map(|value| format!("BROKEN = `{value}`"))
        .collect()
}

/// The world, with the agent in it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) disk: Checkpoint,
    pub(crate) boot: u64,
    pub(crate) log: Vec<(Stamp, Event)>,
    /// Operations that have left and are not answered, by port.
    pub(crate) pending: BTreeMap<Port, (OpId, Effect)>,
    /// Every effect that has left, in order.
    pub(crate) effects: Vec<Effect>,
    /// Violations of what must never happen.
    pub(crate) faults: Vec<String>,
    pub(crate) steps: Vec<(Option<Event>, Step)>,
    /// What the machine may do and where it must end.
    pub(crate) model: Model,
    /// The model of what is on disk.
    disk_model: Model,
    pub(crate) run: Run,
    clock: Stamp,
    /// The device's wall clock minus Cloudly's, milliseconds.
    clock_off: i64,
    starts: u32,
    disk_works: bool,
    /// The newest checkpoint, when it is not on disk.
    unsaved: Option<Box<Checkpoint>>,
    host: HostFacts,
    pub(crate) tokens: Tokens,
    // Cloudly
    /// Whether it suspects a clone.
    pub(crate) clone_suspected: bool,
    /// What it tells a node that registers.
    pub(crate) limits: ServerLimits,
    revision: u64,
    pub(crate) desired: Option<Desired>,
    /// The release that Cloudly sends as the one that runs (0: none).
    pub(crate) fallback: u8,
    commands: Vec<Command>,
    next_command: u32,
    // Supervisor
    target: Option<Release>,
    target_lost: bool,
    /// What its target reads as, when it is looked at.
    pub(crate) definition: Option<Result<PresentRelease, String>>,
    /// Whether its target has an app of somebody else beside ours.
    pub(crate) other_app: bool,
    images: BTreeMap<String, u64>,
    /// By service, as the Supervisor's target leads to them; `None`: they cannot be read.
    pub(crate) engine_images: Option<BTreeMap<String, String>>,
    /// What an inspection shows, whatever was observed last.
    pub(crate) inspected: View,
    /// References of the images on the engine.
    pub(crate) present_images: Vec<String>,
    /// The image ids of the target before, whose containers run until the new one has been fetched.
    images_before: BTreeMap<String, u64>,
    /// How often the guard had all containers made anew.
    remade: u32,
    requests: u64,
}

impl World {
    pub(crate) fn new(offer: bool) -> Self {
        let offer = offer.then(|| join_offer(1, false));
        Self::start(Checkpoint::default(), 1, offer)
    }

    /// A new device whose configuration holds this join token (0: a malformed one).
    pub(crate) fn configured_with(token: u8) -> Self {
        Self::start(Checkpoint::default(), 1, Some(join_offer(token, false)))
    }

    /// The configuration of the next start holds this join token.
    pub(crate) fn configure_join_token(&mut self, token: u8) {
        self.run.join = Some(join_offer(token, false));
    }

    /// An agent that starts from this checkpoint beside a Supervisor that has this release as its target.
    pub(crate) fn resumed(checkpoint: Checkpoint, target: u8) -> Self {
        Self::start(checkpoint, target, None)
    }

    fn start(checkpoint: Checkpoint, target: u8, join: Option<JoinOffer>) -> Self {
        let clock = Stamp {
            boot: checkpoint.saved.max(Millis(10_000)),
            wall: "2026-11-23T12:00:00Z".parse().unwrap(),
            entropy: 1,
        };
        let run = Run {
            run_id: "r_00000001".into(),
            boot_id: "boot-1".into(),
            node: NodeFacts {
                name: "edge".into(),
                agent_version: "0.1.0".into(),
                ..NodeFacts::default()
            },
            labels: BTreeMap::new(),
            own_service: "baserunner".into(),
            state_dir: "/data/baseos".into(),
            app_id: Some(APP),
            has_credentials: checkpoint.durable.node.is_some(),
            join,
            supervisor_configured: true,
            reserve_bytes: 64 << 20,
            built_at: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            cloudly_over_tls: true,
            cloudly_url: Some("https://cloudly.example".into()),
            guard: None,
            settings_problems: Vec::new(),
            checkpoint_problem: None,
            state_owner: None,
        };
        let images = checkpoint.durable.target.images(&commit(target)).cloned();
        let images = images.unwrap_or_else(|| release(1).services.into_keys().zip(11..).collect());
        let revision = checkpoint.durable.revision();
        let (machine, step) = Machine::resume_with(checkpoint.clone(), run.clone(), clock, no_broken_setting);
        let mut world = Self {
            machine,
            boot: 1,
            log: Vec::new(),
            pending: BTreeMap::new(),
            effects: Vec::new(),
            faults: Vec::new(),
            steps: Vec::new(),
            model: Model::new(target),
            disk_model: Model::new(target),
            run,
            clock,
            clock_off: 0,
            starts: 1,
            disk_works: true,
            unsaved: None,
            host: HostFacts::default(),
            tokens: Tokens::of(checkpoint.durable.node.as_ref()),
            disk: checkpoint,
            clone_suspected: false,
            limits: ServerLimits::default(),
            revision,
            desired: None,
            fallback: 0,
            commands: Vec::new(),
            next_command: 0,
            target: Some(release(target)),
            target_lost: false,
            images_before: images.clone(),
            definition: None,
            other_app: false,
            images,
            engine_images: Some(BTreeMap::new()),
            inspected: View::Actual,
            present_images: Vec::new(),
            remade: 0,
            requests: 0,
        };
        world.take_in(None, step);
        world.feed(Event::HostObserved(world.host.clone()));
        world
    }

    /// A node that is enrolled and has been seen by Cloudly once.
    pub(crate) fn enrolled() -> Self {
        let mut world = Self::new(true);
        world.act(Action::Answer(Port::Cloudly, Reply::Good));
        world.act(Action::Observe(View::Actual));
        world.act(Action::Elapse);
        world.act(Action::Answer(Port::Cloudly, Reply::Good));
        world
    }

    pub(crate) fn run_facts(&self) -> Run {
        self.run.clone()
    }

    pub(crate) fn now(&self) -> Stamp {
        self.clock
    }

    /// Lets something happen. False: it cannot happen now.
    pub(crate) fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Elapse => {
                let Some((timer, at)) = self.machine.next_timer() else {
                    return false;
                };
                self.advance(at.since(self.clock.boot));
                self.feed(Event::Elapsed(timer));
            }
            Action::Pass(seconds) => {
                let free = self.machine.next_timer().map(|(_, at)| at.since(self.clock.boot));
                self.advance(
                    free.unwrap_or(Duration::MAX)
                        .min(Duration::from_secs(seconds.into())),
                );
            }
            Action::Answer(port, reply) => return self.answer(port, reply),
            Action::Observe(view) => {
                let view = self.view(view);
                self.feed(Event::SupervisorObserved(Box::new(view)));
            }
            Action::Turn(view) => self.inspected = view,
            Action::LoseTarget => self.lose_target(),
            Action::Post(number) => self.post(number),
            Action::Exit => self.feed(Event::ServiceExited {
                service: "onebox".into(),
            }),
            Action::Log(line) => {
                let fact = self.log_fact(line);
                self.feed(Event::SupervisorLogged(fact));
            }
            Action::Desire(number, policy) => self.desire(number, policy),
            Action::Command(command) => self.command(command),
            Action::Request(request) => {
                self.request(local_call(request));
            }
            Action::Host { locked, full } => {
                let foreign_locks = if locked {
                    vec!["/tmp/balena/updates.lock".to_owned()]
                } else {
                    Vec::new()
                };
                let free_bytes = Some(if full { 1 << 20 } else { 1 << 30 });
                self.host = HostFacts {
                    free_bytes,
                    foreign_locks,
                    ..self.host.clone()
                };
                self.feed(Event::HostObserved(self.host.clone()));
            }
            Action::Disk { works } => {
                self.disk_works = works;
                let problem = (!works).then(|| "no space left on device".to_owned());
                self.feed(Event::StateWritten { problem });
            }
            Action::Offer { token, replace } => {
                let call = LocalCall::Join(join_offer(token, replace));
                self.request(call);
            }
            Action::SetClock { days } => self.set_clock(days),
            Action::Restart { reboot } => self.restart(reboot),
        }
        true
    }

    /// Everything goes well from here on: answers come, the Supervisor does what it is told, time passes.
    pub(crate) fn settle(&mut self) {
        self.disk_works = true;
        self.inspected = View::Actual;
        self.act(Action::Disk { works: true });
        self.act(Action::Host {
            locked: false,
            full: false,
        });
        self.act(Action::Request(LocalRequest::Unlock));
        for _ in 0..120 {
            while let Some(port) = self.pending.keys().next().copied() {
                self.answer(port, Reply::Good);
            }
            self.act(Action::Observe(View::Actual));
            if self.pending.is_empty() {
                self.act(Action::Elapse);
            }
        }
    }

    /// Somebody calls the local API.
    pub(crate) fn request(&mut self, call: LocalCall) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.feed(Event::LocalRequested { request, call });
    }

    fn set_clock(&mut self, days: i16) {
        let by = i64::from(days) * 86_400_000;
        let to = self.clock.wall.as_millisecond().saturating_add(by);
        // Linux knows no time before 1970.
        if let Ok(wall) = Timestamp::from_millisecond(to.max(0)) {
            self.clock_off += wall.as_millisecond() - self.clock.wall.as_millisecond();
            self.clock.wall = wall;
        }
    }

    pub(crate) fn set_cloudlys_clock(&mut self, to: Timestamp) {
        self.clock_off = self.clock.wall.as_millisecond() - to.as_millisecond();
    }

    /// What Cloudly's clock says.
    pub(crate) fn server_time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.wall.as_millisecond() - self.clock_off).unwrap()
    }

    fn advance(&mut self, by: Duration) {
        self.clock.boot = self.clock.boot + by;
        let millis = self.clock.wall.as_millisecond() + i64::try_from(by.as_millis()).unwrap();
        self.clock.wall = Timestamp::from_millisecond(millis).unwrap();
    }

    /// The agent is stopped, and starts again only after this time.
    pub(crate) fn stay_away(&mut self, time: Duration) {
        self.advance(time);
        self.restart(false);
    }

    fn restart(&mut self, reboot: bool) {
        self.starts += 1;
        self.run.run_id = format!("r_{:08}", self.starts);
        self.run.has_credentials = self.disk.durable.node.is_some();
        self.tokens.restart();
        if reboot {
            self.boot += 1;
            self.run.boot_id = format!("boot-{}", self.boot);
            self.clock.boot = Millis(5_000);
        }
        self.pending.clear();
        self.unsaved = None;
        let new_boot = self.disk.durable.boot_id != self.run.boot_id;
        self.model = self.disk_model.restarted(new_boot);
        // As from a file: what is not saved is not there.
        let disk = serde_json::from_value(serde_json::to_value(&self.disk).unwrap()).unwrap();
        let (machine, step) = Machine::resume_with(disk, self.run.clone(), self.clock, no_broken_setting);
        self.machine = machine;
        self.take_in(None, step);
        // The poller's first look comes at once.
        self.feed(Event::HostObserved(self.host.clone()));
        if !self.disk_works {
            self.act(Action::Disk { works: false });
        }
    }

    pub(crate) fn feed(&mut self, event: Event) {
        self.clock.entropy = self
            .clock
            .entropy
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.log.push((self.clock, event.clone()));
        let step = self.machine.step(&event, self.clock);
        self.take_in(Some(event), step);
    }

    /// `event` is `None` for the step a machine was resumed with.
    fn take_in(&mut self, event: Option<Event>, step: Step) {
        let mut withheld = Vec::new();
        let mut refused = Vec::new();
        if step.checkpoint.is_some() {
            self.unsaved.clone_from(&step.checkpoint);
        }
        // One that could not be written is tried again with every step.
        if let Some(checkpoint) = self.unsaved.take_if(|_| self.disk_works) {
            self.disk = *checkpoint;
        }
        for effect in &step.effects {
            if effect.needs_checkpoint() && !self.disk_works {
                withheld.push(Event::Withheld {
                    request: effect.request(),
                    op: effect.op(),
                    problem: "no space left on device".into(),
                });
                if let Effect::Reply { answer, .. } = effect
                    && let LocalAnswer::Lock(lock) = &**answer
                    && !self
                        .disk
                        .durable
                        .leases
                        .iter()
                        .any(|lease| lease.name == lock.name)
                {
                    refused.push(lock.name.clone());
                }
                continue;
            }
            self.leave(effect);
        }
        for effect in &step.effects {
            if let Effect::Heartbeat { heartbeat, .. } = effect {
                self.check_status(heartbeat);
            }
        }
        self.check();
        let now = self.clock.boot;
        self.faults
            .extend(self.model.take(now, event.as_ref(), &step, self.disk_works));
        if self.disk_works {
            self.disk_model = self.model.clone();
        }
        self.steps.push((event, step));
        for event in withheld {
            self.feed(event);
        }
        let mut leases = self.machine.shared().durable.leases.iter();
        let held = leases.find(|lease| refused.contains(&lease.name));
        assert_eq!(held, None, "a lock that was refused holds nothing");
    }

    /// The hash, which may be a remembered one, is that of the present status, and a status that is sent has it too.
    fn check_status(&self, heartbeat: &Heartbeat) {
        let l = self.machine.shared();
        let status = cut_status(node_status(l, self.machine.state()), l.heartbeats.size_limit());
        assert_eq!(heartbeat.status_hash, status_hash(&status));
        if let Some(sent) = &heartbeat.status {
            assert_eq!(**sent, status);
        }
    }

    fn answer(&mut self, port: Port, reply: Reply) -> bool {
        let Some((op, effect)) = self.pending.remove(&port) else {
            return false;
        };
        let event = match effect {
            Effect::Register { token, .. } => self.registered(op, &token, reply),
            Effect::Heartbeat { heartbeat, .. } => self.heartbeat_answered(op, &heartbeat, reply),
            Effect::Supervisor { call, .. } => {
                let answer = Box::new(self.supervise(&call, reply));
                Event::SupervisorAnswered { op, answer }
            }
            Effect::HoldLockFiles { .. } | Effect::ReleaseLockFiles { .. } => {
                let problem = (reply != Reply::Good).then(|| "a foreign lock file is there".to_owned());
                Event::LockFilesSettled { op, problem }
            }
            other => panic!("{} has no result", other.name()),
        };
        self.feed(event);
        true
    }

    /// The commit the modelled Supervisor has as its target.
    pub(crate) fn target_commit(&self) -> Option<String> {
        self.target.as_ref().map(|release| release.commit.clone())
    }
}
