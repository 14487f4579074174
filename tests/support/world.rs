//! A world for the machine to live in, as pure as the machine: a Cloudly, a Supervisor and clocks that only move
//! when told. Actions say what happens next; the world turns them into events that could really come.

#[path = "world/actions.rs"]
mod actions;
#[path = "world/releases.rs"]
mod releases;
#[path = "world/supervisor.rs"]
mod supervisor;
#[path = "world/words.rs"]
mod words;

pub use actions::{Action, Errand, Reply, Rule, Sight, Wish};
pub use releases::{commit, desired_app, release};
use words::{call_failure, join_offer, wish_call};

use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{Command, CommandAction};
use baseos_interfaces::desired::{Desired, Release};
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::register::{Approval, NodeFacts, ServerLimits};
use baseos_interfaces::token::TokenId;
use baserunner::lifecycle::effect::{LocalAnswer, OpId, Port, RequestId};
use baserunner::lifecycle::event::Registration;
use baserunner::lifecycle::facts::{HostFacts, Run};
use baserunner::lifecycle::time::{Millis, Stamp};
use baserunner::lifecycle::{Checkpoint, Effect, Event, Machine, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// The highest number of attempts in the world's policies.
pub const MAX_ATTEMPTS: u32 = 2;
const APP: u64 = 7;

/// The world, with the agent in it.
#[derive(Clone)]
pub struct World {
    pub machine: Machine,
    pub disk: Checkpoint,
    pub boot: u64,
    pub log: Vec<(Stamp, Event)>,
    /// Operations that have left and are not answered, by port.
    pub pending: BTreeMap<Port, (OpId, Effect)>,
    /// Every effect that has left, in order.
    pub effects: Vec<Effect>,
    /// Violations of what must never happen.
    pub faults: Vec<String>,
    pub steps: Vec<(Event, Step)>,
    run: Run,
    clock: Stamp,
    starts: u32,
    disk_works: bool,
    host: HostFacts,
    // Cloudly
    revision: u64,
    desired: Option<Desired>,
    commands: Vec<Command>,
    next_command: u32,
    // Supervisor
    target: Option<Release>,
    images: BTreeMap<String, u64>,
    requests: u64,
}

impl World {
    pub fn new(offer: bool) -> Self {
        let clock = Stamp {
            boot: Millis(10_000),
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
            app_id: Some(APP),
            has_credentials: false,
            join: offer.then(|| join_offer(1, false)),
            supervisor_configured: true,
            reserve_bytes: 64 << 20,
        };
        let (machine, step) = Machine::resume(Checkpoint::default(), run.clone(), clock);
        let mut world = Self {
            machine,
            disk: Checkpoint::default(),
            boot: 1,
            log: Vec::new(),
            pending: BTreeMap::new(),
            effects: Vec::new(),
            faults: Vec::new(),
            steps: Vec::new(),
            run,
            clock,
            starts: 1,
            disk_works: true,
            host: HostFacts::default(),
            revision: 0,
            desired: None,
            commands: Vec::new(),
            next_command: 0,
            target: Some(release(1)),
            images: release(1).services.keys().cloned().zip(11..).collect(),
            requests: 0,
        };
        world.take_in(Event::Entered, step);
        world.feed(Event::HostObserved(world.host.clone()));
        world
    }

    /// A node that is enrolled and has been seen by Cloudly once.
    pub fn enrolled() -> Self {
        let mut world = Self::new(true);
        world.act(Action::Answer(Port::Cloudly, Reply::Good));
        world.act(Action::See(Sight::Truth));
        world.act(Action::Elapse);
        world.act(Action::Answer(Port::Cloudly, Reply::Good));
        world
    }

    pub fn run_facts(&self) -> Run {
        self.run.clone()
    }

    pub fn now(&self) -> Stamp {
        self.clock
    }

    /// Lets something happen. False: it cannot happen now.
    pub fn act(&mut self, action: Action) -> bool {
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
            Action::See(sight) => {
                let view = self.sight(sight);
                self.feed(Event::Observed(Box::new(view)));
            }
            Action::Exit => self.feed(Event::ServiceExited {
                service: "onebox".into(),
            }),
            Action::Desire(number, rule) => {
                self.revision += 1;
                let app = (number > 0).then(|| desired_app(number, rule));
                self.desired = Some(Desired {
                    revision: self.revision,
                    issued_at: self.clock.wall,
                    reset: false,
                    app,
                    host_os: None,
                });
            }
            Action::Order(errand) => {
                self.next_command += 1;
                let action = match errand {
                    Errand::Check => CommandAction::CheckNow {},
                    Errand::RestartService => CommandAction::RestartService {
                        service: "onebox".into(),
                    },
                    Errand::Reboot => CommandAction::Reboot {},
                };
                self.commands.push(Command {
                    id: format!("cmd_{}", self.next_command),
                    action,
                    issued_at: self.clock.wall,
                    expires_at: None,
                });
            }
            Action::Ask(wish) => {
                self.requests += 1;
                let call = wish_call(wish);
                let request = RequestId(self.requests);
                self.feed(Event::LocalRequested { request, call });
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
                };
                self.feed(Event::HostObserved(self.host.clone()));
            }
            Action::Disk { works } => {
                self.disk_works = works;
                let problem = (!works).then(|| "no space left on device".to_owned());
                self.feed(Event::StateWritten { problem });
            }
            Action::Offer { token, replace } => {
                self.feed(Event::JoinTokenOffered(join_offer(token, replace)));
            }
            Action::Restart { reboot } => self.restart(reboot),
        }
        true
    }

    /// Everything goes well from here on: answers come, the Supervisor does what it is told, time passes.
    pub fn calm_down(&mut self) {
        self.disk_works = true;
        self.act(Action::Disk { works: true });
        self.act(Action::Host {
            locked: false,
            full: false,
        });
        self.act(Action::Ask(Wish::Unlock));
        for _ in 0..120 {
            while let Some(port) = self.pending.keys().next().copied() {
                self.answer(port, Reply::Good);
            }
            self.act(Action::See(Sight::Truth));
            if self.pending.is_empty() {
                self.act(Action::Elapse);
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        self.clock.boot = self.clock.boot + by;
        let millis = self.clock.wall.as_millisecond() + i64::try_from(by.as_millis()).unwrap();
        self.clock.wall = Timestamp::from_millisecond(millis).unwrap();
    }

    /// The agent is stopped, and starts again only after this time.
    pub fn stay_away(&mut self, time: Duration) {
        self.advance(time);
        self.restart(false);
    }

    fn restart(&mut self, reboot: bool) {
        self.starts += 1;
        self.run.run_id = format!("r_{:08}", self.starts);
        self.run.has_credentials = self.disk.book.node.is_some();
        if reboot {
            self.boot += 1;
            self.run.boot_id = format!("boot-{}", self.boot);
            self.clock.boot = Millis(5_000);
        }
        self.pending.clear();
        let (machine, step) = Machine::resume(self.disk.clone(), self.run.clone(), self.clock);
        self.machine = machine;
        self.take_in(Event::Entered, step);
        // The poller's first look comes at once.
        self.feed(Event::HostObserved(self.host.clone()));
        if !self.disk_works {
            self.act(Action::Disk { works: false });
        }
    }

    pub fn feed(&mut self, event: Event) {
        self.clock.entropy = self
            .clock
            .entropy
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.log.push((self.clock, event.clone()));
        let step = self.machine.step(&event, self.clock);
        self.take_in(event, step);
    }

    fn take_in(&mut self, event: Event, step: Step) {
        let mut withheld = Vec::new();
        let mut refused = Vec::new();
        if let Some(checkpoint) = &step.checkpoint
            && self.disk_works
        {
            self.disk = (**checkpoint).clone();
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
                    && !self.disk.book.leases.iter().any(|lease| lease.name == lock.name)
                {
                    refused.push(lock.name.clone());
                }
                continue;
            }
            self.leave(effect);
        }
        self.check();
        self.steps.push((event, step));
        for event in withheld {
            self.feed(event);
        }
        let mut leases = self.machine.lifecycle().book.leases.iter();
        let held = leases.find(|lease| refused.contains(&lease.name));
        assert_eq!(held, None, "a lock that was refused holds nothing");
    }

    fn leave(&mut self, effect: &Effect) {
        let enrolled = self.machine.lifecycle().book.node.is_some();
        let talks = matches!(effect.port(), Port::Cloudly | Port::Supervisor) && effect.op().is_some();
        if talks && !enrolled && !matches!(effect, Effect::Register { .. }) {
            self.faults.push(format!("{} before enrolment", effect.name()));
        }
        if let Some(op) = effect.op()
            && let Some((before, _)) = self.pending.insert(effect.port(), (op, effect.clone()))
        {
            self.faults
                .push(format!("{} {op} while {before} is under way", effect.name()));
        }
        self.effects.push(effect.clone());
    }

    fn check(&mut self) {
        let state = self.machine.state();
        let allowed = state.timers();
        for timer in self.machine.lifecycle().timers.armed() {
            if !allowed.contains(&timer) {
                self.faults
                    .push(format!("{timer:?} is armed in {}", state.name()));
            }
        }
        if let Some(update) = state.update()
            && update.attempt > MAX_ATTEMPTS
        {
            self.faults
                .push(format!("attempt {} of {MAX_ATTEMPTS}", update.attempt));
        }
        if let Some(update) = state.update()
            && matches!(state.name(), baseos_interfaces::states::AgentState::Waiting)
            && update.blocked.is_empty()
        {
            self.faults.push("waiting for nothing".to_owned());
        }
    }

    fn answer(&mut self, port: Port, reply: Reply) -> bool {
        let Some((op, effect)) = self.pending.remove(&port) else {
            return false;
        };
        let event = match effect {
            Effect::Register { token, .. } => self.registered(op, &token, reply),
            Effect::Heartbeat { beat, .. } => {
                self.beaten(op, beat.observed_revision, &beat.command_results, reply)
            }
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

    fn registered(&mut self, op: OpId, token: &TokenId, reply: Reply) -> Event {
        match call_failure(reply) {
            Some(failure) => Event::RegisterFailed { op, failure },
            None => {
                let node = Box::new(Registration {
                    node_id: format!("node_{token}"),
                    approval: Approval::Approved,
                    approval_reason: None,
                    fleet: None,
                    next_heartbeat_seconds: 15,
                    limits: ServerLimits::default(),
                    server_time: self.clock.wall,
                });
                Event::Registered { op, node }
            }
        }
    }

    fn beaten(
        &mut self,
        op: OpId,
        seen: u64,
        results: &[baseos_interfaces::command::CommandResult],
        reply: Reply,
    ) -> Event {
        if let Some(failure) = call_failure(reply) {
            return Event::BeatFailed { op, failure };
        }
        self.commands
            .retain(|command| results.iter().all(|result| result.id != command.id));
        let orders = Box::new(Orders {
            server_time: self.clock.wall,
            next_heartbeat_seconds: 60,
            resend_full_status: false,
            desired: self.desired.clone().filter(|desired| desired.revision != seen),
            commands: self.commands.clone(),
            approval: None,
            clone_suspected: false,
        });
        Event::BeatAnswered {
            op,
            orders,
            credentials_stored: false,
        }
    }

    /// The commit the modelled Supervisor has as its target.
    pub fn target_commit(&self) -> Option<String> {
        self.target.as_ref().map(|release| release.commit.clone())
    }

    /// What Cloudly would send with its next answer.
    pub fn undelivered(&self) -> Option<&Desired> {
        self.desired
            .as_ref()
            .filter(|desired| desired.revision > self.machine.lifecycle().book.revision())
    }
}
