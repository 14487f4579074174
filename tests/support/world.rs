//! A world for the machine to live in, as pure as the machine: a Cloudly, a Supervisor and clocks that only move
//! when told. Actions say what happens next; the world turns them into events that could really come.

use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{Command, CommandAction};
use baseos_interfaces::desired::{Desired, DesiredApp, Force, OnFailure, Policy, Release, Service, Slot};
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::local::{DeferRequest, LockRequest, LockScope};
use baseos_interfaces::register::{Approval, NodeFacts, ServerLimits};
use baseos_interfaces::status::OsStatus;
use baseos_interfaces::token::TokenId;
use baserunner::lifecycle::effect::{OpId, Port, RequestId, SupervisorCall};
use baserunner::lifecycle::event::{LocalCall, Registration, SupervisorAnswer};
use baserunner::lifecycle::facts::{
    AppState, CallFailure, CallFailureKind, Container, HostFacts, Inspection, JoinOffer, Run,
    SupervisorError, SupervisorErrorKind, SupervisorView, TargetApp, TargetService,
};
use baserunner::lifecycle::time::{Millis, Stamp};
use baserunner::lifecycle::{Checkpoint, Effect, Event, Machine, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happens to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The next deadline comes.
    Elapse,
    /// Time passes without a deadline, seconds.
    Pass(u32),
    /// Whoever was asked through a port answers.
    Answer(Port, Reply),
    /// The poller sees this.
    See(Sight),
    /// An operator desires a release (0: none) under a policy; it comes with the next answer of Cloudly.
    Desire(u8, Rule),
    /// An operator sends a command; it comes with the next answer of Cloudly.
    Order(Errand),
    /// Somebody uses the local API.
    Ask(Wish),
    /// The host poller sees foreign locks, or too little space.
    Host { locked: bool, full: bool },
    /// The disk lets the state be written, or not.
    Disk { works: bool },
    /// Somebody offers a join token.
    Offer { token: u8, replace: bool },
    /// The agent is killed and starts again; perhaps the device reboots.
    Restart { reboot: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// As it should be.
    Good,
    /// Refused for good (401, 400).
    Refused,
    /// In the way: 423 from the Supervisor, 410 from Cloudly.
    Gone,
    /// Not now.
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sight {
    /// What the modelled Supervisor says, which has finished whatever it was told.
    Truth,
    /// It is still at work on what it was told.
    Working,
    /// It is applied, but a service does not run.
    Ill,
    /// It does not answer.
    Silent,
    /// Somebody put another release there.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    Plain,
    ReportOnly,
    NeedsApproval,
    NoSlot,
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Errand {
    Check,
    RestartService,
    Reboot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wish {
    Status,
    Check,
    Approve,
    Defer,
    Lock,
    Unlock,
    Doctor,
}

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
            revision: 0,
            desired: None,
            commands: Vec::new(),
            next_command: 0,
            target: Some(release(1)),
            images: release(1).services.keys().cloned().zip(11..).collect(),
            requests: 0,
        };
        world.take_in(Event::Entered, step);
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
                self.feed(Event::HostObserved(HostFacts {
                    free_bytes,
                    foreign_locks,
                }));
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
        if let Some(checkpoint) = &step.checkpoint
            && self.disk_works
        {
            self.disk = (**checkpoint).clone();
        }
        for effect in &step.effects {
            if effect.needs_checkpoint() && !self.disk_works {
                withheld.push(Event::Withheld {
                    op: effect.op(),
                    problem: "no space left on device".into(),
                });
                continue;
            }
            self.leave(effect);
        }
        self.check();
        self.steps.push((event, step));
        for event in withheld {
            self.feed(event);
        }
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

    fn supervise(
        &mut self,
        call: &SupervisorCall,
        reply: Reply,
    ) -> Result<SupervisorAnswer, SupervisorError> {
        let kind = match reply {
            Reply::Good => None,
            Reply::Refused => Some(SupervisorErrorKind::Refused),
            Reply::Gone => Some(SupervisorErrorKind::Locked),
            Reply::Unavailable => Some(SupervisorErrorKind::Unavailable),
        };
        if let Some(kind) = kind {
            return Err(SupervisorError {
                kind,
                message: format!("{kind:?}").to_lowercase(),
            });
        }
        match call {
            SupervisorCall::Inspect => Ok(SupervisorAnswer::Inspected(Box::new(self.inspection()))),
            SupervisorCall::ApplyTarget { target, .. } => {
                let number = (1..=4)
                    .find(|n| commit(*n) == target.commit())
                    .expect("a release of this world");
                self.target = Some(release(number));
                let json = serde_json::to_value(target).unwrap();
                let services = json["local"]["apps"][APP.to_string()]["services"]
                    .as_object()
                    .unwrap()
                    .clone();
                self.images = services
                    .values()
                    .map(|s| {
                        (
                            s["serviceName"].as_str().unwrap().to_owned(),
                            s["imageId"].as_u64().unwrap(),
                        )
                    })
                    .collect();
                Ok(SupervisorAnswer::Accepted)
            }
            SupervisorCall::CollectLogs { .. } => Ok(SupervisorAnswer::Logs("logs".into())),
            _ => Ok(SupervisorAnswer::Accepted),
        }
    }

    fn inspection(&self) -> Inspection {
        let services = self.images.iter().enumerate().map(|(at, (name, image_id))| {
            let service = TargetService {
                service_id: at as u64 + 1,
                image_id: *image_id,
                release_id: 1,
                image: format!("registry.example/{name}"),
            };
            (name.clone(), service)
        });
        let app = TargetApp {
            name: "baseos".into(),
            commit: self.target.as_ref().map(|release| release.commit.clone()),
            services: services.collect(),
            volumes: BTreeMap::new(),
        };
        Inspection {
            view: self.sight(Sight::Truth).unwrap(),
            apps: BTreeMap::from([(APP, app)]),
            config: BTreeMap::new(),
            name: None,
        }
    }

    fn sight(&self, sight: Sight) -> Result<SupervisorView, SupervisorError> {
        let target = self.target.as_ref().map(|release| release.commit.clone());
        // Release 3 is bad by nature: its onebox does not stay up.
        let ill = sight == Sight::Ill || (sight == Sight::Truth && target == Some(commit(3)));
        let containers = self.images.iter().map(|(service, image_id)| Container {
            service: service.clone(),
            status: if ill && service == "onebox" {
                "exited".into()
            } else {
                "Running".into()
            },
            image_id: *image_id,
            container_id: format!("c-{service}-{image_id}"),
            created_at: String::new(),
        });
        let (app_state, release) = match sight {
            Sight::Silent => {
                let message = "no answer".to_owned();
                return Err(SupervisorError {
                    kind: SupervisorErrorKind::Unavailable,
                    message,
                });
            }
            Sight::Working => (AppState::Applying, None),
            Sight::Foreign => (AppState::Applied, Some("f00d".repeat(8))),
            Sight::Truth | Sight::Ill => (AppState::Applied, target),
        };
        Ok(SupervisorView {
            version: "19.0.5".into(),
            managed: false,
            app_state,
            release,
            download_percent: (sight == Sight::Working).then_some(50),
            containers: containers.collect(),
            update_failed: false,
            ip_addresses: Vec::new(),
            mac_addresses: Vec::new(),
            os: OsStatus::default(),
        })
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

fn call_failure(reply: Reply) -> Option<CallFailure> {
    let kind = match reply {
        Reply::Good => return None,
        Reply::Refused => CallFailureKind::Unauthorized,
        Reply::Gone => CallFailureKind::Removed,
        Reply::Unavailable => CallFailureKind::Unavailable,
    };
    let message = format!("{kind:?}").to_lowercase();
    Some(CallFailure {
        kind,
        code: None,
        message,
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    })
}

fn join_offer(token: u8, replace: bool) -> JoinOffer {
    let token = if token == 0 {
        Err("a join token starts with `szj_`".to_owned())
    } else {
        Ok(TokenId::new(format!("token{token:05}")))
    };
    JoinOffer {
        token,
        registration_id: "0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20".into(),
        replace,
    }
}

fn wish_call(wish: Wish) -> LocalCall {
    let owner = "onebox".to_owned();
    match wish {
        Wish::Status => LocalCall::Status,
        Wish::Check => LocalCall::Check,
        Wish::Approve => LocalCall::Approve,
        Wish::Defer => LocalCall::Defer(DeferRequest {
            until_seconds: 600,
            reason: "busy".into(),
        }),
        Wish::Lock => LocalCall::Lock {
            name: "backup".into(),
            owner,
            request: LockRequest {
                reason: "backup running".into(),
                ttl_seconds: 300,
                scope: LockScope::App,
            },
        },
        Wish::Unlock => LocalCall::Unlock {
            name: "backup".into(),
            owner,
        },
        Wish::Doctor => LocalCall::Doctor,
    }
}

/// The commit of a numbered release.
pub fn commit(number: u8) -> String {
    format!("{}{number}", char::from(b'a' + number - 1)).repeat(16)
}

/// A numbered release: 1 runs from the start, 2 and 4 are good, 3 is bad by nature, 5 lacks the agent itself.
pub fn release(number: u8) -> Release {
    let service = |image: &str, mount: bool| Service {
        image: format!("registry.example/{image}@sha256:{number:064}"),
        environment: BTreeMap::new(),
        labels: BTreeMap::from([("io.balena.features.supervisor-api".to_owned(), "1".to_owned())]),
        composition: match mount {
            true => serde_json::from_str(r#"{"volumes": ["baseos:/data/baseos"]}"#).unwrap(),
            false => serde_json::Map::new(),
        },
        size_bytes: None,
    };
    let mut services = BTreeMap::from([("onebox".to_owned(), service("onebox", false))]);
    if number != 5 {
        services.insert("baserunner".to_owned(), service("baserunner", true));
    }
    Release {
        release_id: format!("rel_{number}"),
        commit: commit(number),
        version: Some(format!("1.{number}.0")),
        services,
        volumes: BTreeMap::from([("baseos".to_owned(), serde_json::Map::new())]),
        networks: BTreeMap::new(),
    }
}

pub fn desired_app(number: u8, rule: Rule) -> DesiredApp {
    let mut policy = Policy {
        max_attempts: MAX_ATTEMPTS,
        health_seconds: 30,
        apply_timeout_seconds: 600,
        ..Policy::default()
    };
    let mut slot = None;
    match rule {
        Rule::Plain => {}
        Rule::ReportOnly => policy.on_failure = OnFailure::Report,
        Rule::NeedsApproval => policy.require_local_approval = true,
        Rule::NoSlot => {
            slot = Some(Slot {
                granted: false,
                lease_expires_at: None,
            });
        }
        Rule::Forced => {
            policy.force = Some(Force {
                by: "ops".into(),
                reason: "now".into(),
            });
        }
    }
    DesiredApp {
        release: release(number),
        rollout_id: Some("rol_1".into()),
        slot,
        policy,
    }
}
