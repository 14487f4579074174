//! The loop in virtual time: it sends heartbeats when the machine says, writes before it lets go, and its journal
//! replays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Instructions;
use baseos_interfaces::register::{Approval, NodeFacts, ServerLimits};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenId};
use baserunner::lifecycle::effect::RequestId;
use baserunner::lifecycle::event::{LocalCall, Registration};
use baserunner::lifecycle::facts::{JoinOffer, Run};
use baserunner::lifecycle::timer::Timer;
use baserunner::lifecycle::{Checkpoint, Effect, Event, Machine};
use baserunner::runtime::alarm::PausedAlarm;
use baserunner::runtime::bus::{Bus, DeadSource};
use baserunner::runtime::clock::{Clock as _, PausedClock};
use baserunner::runtime::dispatch::Dispatch;
use baserunner::runtime::drive::{CheckpointSink, Drive};
use baserunner::runtime::journal::{Header, Journal};
use baserunner::runtime::replay::replay;
use baserunner::telemetry::metrics::Metrics;
use baserunner::vault::{Vault, VaultError};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

const JOURNAL_BYTES: u64 = 1 << 20;

/// What left and what was written, in the order in which it happened.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.lines().iter().filter(|line| *line == what).count()
    }
}

#[derive(Clone, Default)]
struct Disk {
    log: Log,
    full: Arc<Mutex<bool>>,
}

impl Disk {
    fn set_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }
}

impl CheckpointSink for Disk {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("no space left on device".into());
        }
        self.log.push(format!("saved {}", checkpoint.agent_state()));
        Ok(())
    }
}

struct EmptyVault;

impl Vault for EmptyVault {
    fn node_token(&self) -> Option<Token> {
        None
    }
    fn node_id(&self) -> Option<String> {
        None
    }
    fn store_node_token(&self, _: &Token, _: &str) -> Result<(), VaultError> {
        Ok(())
    }
    fn store_next_token(&self, _: &Token) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_accepted(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_refused(&self, _: &TokenId) {}
    fn join_token(&self, _: &TokenId) -> Option<Token> {
        None
    }
    fn offer_join_token(&self, _: &Token) -> Result<(), VaultError> {
        Ok(())
    }
    fn forget_join_token(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
}

fn start_time() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn run_facts() -> Run {
    Run {
        run_id: "r_1".into(),
        boot_id: "b_1".into(),
        node: NodeFacts {
            name: "edge".into(),
            agent_version: "0.1.0".into(),
            ..NodeFacts::default()
        },
        own_service: "baserunner".into(),
        state_dir: "/data/baseos".into(),
        join: Some(JoinOffer {
            token: Ok(TokenId::new("token00001")),
            registration_id: RegistrationId::parse("0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20").unwrap(),
            replace: false,
        }),
        ..Run::default()
    }
}

/// A Cloudly that accepts everything at once and asks for a heartbeat a minute.
fn cloudly(log: Log) -> (mpsc::Sender<Effect>, mpsc::Receiver<Event>) {
    let (mailbox, mut effects) = mpsc::channel::<Effect>(8);
    let (events, answers) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(effect) = effects.recv().await {
            log.push(effect.name());
            let event = match effect {
                Effect::Register { op, .. } => Event::Registered {
                    op,
                    node: Box::new(Registration {
                        node_id: "node_1".into(),
                        approval: Approval::Approved,
                        approval_reason: None,
                        fleet: None,
                        next_heartbeat_seconds: 60,
                        limits: ServerLimits::default(),
                        server_time: start_time(),
                    }),
                },
                Effect::Heartbeat { op, .. } => Event::HeartbeatAnswered {
                    op,
                    node_id: None,
                    instructions: Box::new(Instructions {
                        server_time: start_time(),
                        next_heartbeat_seconds: 60,
                        resend_full_status: false,
                        desired: None,
                        commands: Vec::new(),
                        approval: None,
                        clone_suspected: false,
                    }),
                    credentials_stored: false,
                },
                other => panic!("{}", other.name()),
            };
            events.send(event).await.unwrap();
        }
    });
    (mailbox, answers)
}

/// The loop, running.
struct Running {
    ended: JoinHandle<Result<(), DeadSource>>,
    disk: Disk,
    stop: CancellationToken,
    /// Takes requests on the local API; dropping it ends a source.
    requests: mpsc::Sender<Event>,
    /// What the local API's port is handed.
    replies: mpsc::Receiver<Effect>,
    metrics: Arc<Metrics>,
    /// Nobody answers through these, but their mailboxes must stay open.
    _silent: [mpsc::Receiver<Effect>; 2],
}

impl Running {
    fn start(dir: &Path, journal_bytes: u64, disk: Disk) -> Self {
        let mut clock = PausedClock::new(start_time(), 1);
        let alarm = PausedAlarm::of(&clock);
        let (to_cloudly, answers) = cloudly(disk.log.clone());
        let (to_supervisor, supervisor) = mpsc::channel(8);
        let (to_lock_files, lock_files) = mpsc::channel(8);
        let (to_local_api, replies) = mpsc::channel(64);
        let (requests, requested) = mpsc::channel(64);
        let now = clock.stamp();
        let header = Header {
            checkpoint: Checkpoint::default(),
            run: run_facts(),
            now,
        };
        let (machine, first) = Machine::resume(Checkpoint::default(), run_facts(), now);
        let journal = Journal::begin(dir, journal_bytes, header);
        let dispatch = Dispatch {
            cloudly: to_cloudly,
            supervisor: to_supervisor,
            lock_files: to_lock_files,
            local_api: to_local_api,
            vault: Arc::new(EmptyVault),
        };
        let bus = Bus::default()
            .with("cloudly", ReceiverStream::new(answers))
            .with("local API", ReceiverStream::new(requested));
        let metrics = Arc::new(Metrics::new("test"));
        let drive = Drive::new(
            machine,
            clock,
            alarm,
            disk.clone(),
            journal,
            dispatch,
            metrics.clone(),
        );
        let stop = CancellationToken::new();
        Self {
            metrics,
            ended: tokio::spawn(drive.run(first, bus, stop.clone())),
            disk,
            stop,
            requests,
            replies,
            _silent: [supervisor, lock_files],
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time passes only when somebody waits"
)]
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn sends_a_heartbeat_a_minute_and_a_goodbye_and_its_journal_replays() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), JOURNAL_BYTES, Disk::default());
    let log = running.disk.log.clone();
    pass(601).await;
    let heartbeats = log.count("Heartbeat");
    assert!(
        (9..=14).contains(&heartbeats),
        "{heartbeats} heartbeats in ten minutes"
    );
    let metrics = running.metrics.clone();
    running.stop().await;
    assert_eq!(log.count("Heartbeat(goodbye)"), 1);
    let metrics = metrics.render();
    let current = metrics
        .lines()
        .filter(|line| line.starts_with("baserunner_state{") && line.ends_with(" 1"));
    assert_eq!(
        current.collect::<Vec<_>>(),
        ["baserunner_state{state=\"idle\"} 1"]
    );

    let journal = std::fs::read(dir.path().join(Journal::FILE)).unwrap();
    let mut lines = Vec::new();
    let machine = replay(
        &journal[..],
        |_, _| Vec::new(),
        |line| lines.push(line.to_owned()),
    )
    .unwrap();
    assert_eq!(machine.agent_state().as_str(), "idle");
    let replayed = lines.iter().filter(|line| line.contains(" Heartbeat#")).count();
    assert_eq!(replayed, heartbeats, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_change_nothing_save_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), JOURNAL_BYTES, Disk::default());
    let log = running.disk.log.clone();
    pass(120).await;
    let before = log.lines();
    let saved = |lines: &[String]| lines.iter().filter(|line| line.starts_with("saved")).count();
    pass(3600).await;
    let after = log.lines();
    assert!(log.count("Heartbeat") > 45, "{after:?}");
    assert_eq!(saved(&after), saved(&before), "{after:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn writes_the_checkpoint_before_the_effect_that_needs_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), JOURNAL_BYTES, Disk::default());
    let log = running.disk.log.clone();
    pass(5).await;
    running.stop().await;
    let lines = log.lines();
    assert_eq!(lines[..2], ["saved registering", "Register"], "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn begins_nothing_while_the_disk_is_full_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    disk.set_full(true);
    let running = Running::start(dir.path(), JOURNAL_BYTES, disk.clone());
    pass(300).await;
    assert_eq!(
        disk.log.count("Register"),
        0,
        "a registration that could be forgotten must not leave"
    );
    disk.set_full(false);
    pass(1000).await;
    assert_eq!(disk.log.count("Register"), 1);
    assert!(disk.log.count("Heartbeat") > 5);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ends_when_a_source_ends_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let Running {
        ended,
        requests,
        replies,
        ..
    } = Running::start(dir.path(), JOURNAL_BYTES, Disk::default());
    drop(requests);
    assert_eq!(ended.await.unwrap(), Err(DeadSource("local API")));
    drop(replies);
}

#[tokio::test(start_paused = true)]
async fn keeps_the_journal_in_two_files_that_both_replay() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 64 * 1024;
    let mut running = Running::start(dir.path(), limit, Disk::default());
    for number in 0..2000 {
        let request = RequestId(number);
        let call = LocalCall::Status;
        let event = Event::LocalRequested { request, call };
        running.requests.send(event).await.unwrap();
        while !matches!(running.replies.recv().await, Some(Effect::Reply { .. })) {}
    }
    running.stop().await;
    let mut total = 0;
    for name in [Journal::FILE.to_owned(), format!("{}.1", Journal::FILE)] {
        let journal = std::fs::read(dir.path().join(name)).unwrap();
        total += journal.len() as u64;
        replay(&journal[..], |_, _| Vec::new(), |_| {}).unwrap();
    }
    assert!(total < 2 * limit, "{total} bytes");
}

/// The flood never ends, so that there is always an event on the bus. Virtual time passes only when the test says.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_leaves_when_it_is_due_while_the_local_api_is_flooded() {
    let dir = tempfile::tempdir().unwrap();
    let Running {
        ended,
        disk,
        stop,
        requests,
        mut replies,
        _silent,
        ..
    } = Running::start(dir.path(), 1 << 26, Disk::default());
    pass(5).await;
    tokio::spawn(async move { while replies.recv().await.is_some() {} });
    tokio::spawn(async move {
        for number in 0.. {
            let request = RequestId(number);
            let call = LocalCall::Handshake;
            let event = Event::LocalRequested { request, call };
            if requests.send(event).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..5 {
        let before = disk.log.count("Heartbeat");
        tokio::time::advance(Duration::from_secs(90)).await;
        let mut turns = 0;
        while disk.log.count("Heartbeat") == before {
            turns += 1;
            assert!(turns < 1000, "the flood holds the heartbeat back");
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    ended.await.unwrap().unwrap();

    // Of the flood at most the event that was waited for came between the moment that it was due and its turn.
    let journal = std::fs::read_to_string(dir.path().join(Journal::FILE)).unwrap();
    let entries: Vec<serde_json::Value> = journal
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let due = serde_json::to_value(Event::Elapsed(Timer::Heartbeat)).unwrap();
    let beats: Vec<_> = entries.iter().filter(|entry| entry["event"] == due).collect();
    assert!(beats.len() >= 5);
    for beat in beats {
        let at_once = entries
            .iter()
            .filter(|entry| entry["now"]["boot"] == beat["now"]["boot"]);
        let before = at_once.take_while(|entry| entry["seq"] != beat["seq"]);
        assert!(before.count() <= 1, "{beat}");
    }
}
