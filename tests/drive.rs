//! The loop in virtual time: it beats when the machine says, writes before it lets go, and its journal replays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::register::{Approval, NodeFacts, ServerLimits};
use baseos_interfaces::token::{Token, TokenId};
use baserunner::adapters::vault::{Vault, VaultError};
use baserunner::lifecycle::effect::Effect;
use baserunner::lifecycle::event::{LocalCall, Registration};
use baserunner::lifecycle::facts::{JoinOffer, Run};
use baserunner::lifecycle::{Checkpoint, Event, Machine};
use baserunner::runtime::bus::{Bus, DeadSource};
use baserunner::runtime::clock::{Clock as _, PausedClock};
use baserunner::runtime::dispatch::Dispatch;
use baserunner::runtime::drive::{CheckpointSink, Drive};
use baserunner::runtime::journal::{Header, Journal};
use baserunner::runtime::replay::replay;
use baserunner::telemetry::metrics::Metrics;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// What left and what was written, in the order in which it happened.
type Story = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
struct Disk {
    story: Story,
    full: Arc<Mutex<bool>>,
}

impl CheckpointSink for Disk {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("no space left on device".into());
        }
        self.story
            .lock()
            .unwrap()
            .push(format!("saved {}", checkpoint.state.name()));
        Ok(())
    }
}

struct NoSecrets;

impl Vault for NoSecrets {
    fn node_token(&self) -> Option<Token> {
        None
    }
    fn store_node_token(&self, _: &Token) -> Result<(), VaultError> {
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

fn start() -> Timestamp {
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
        join: Some(JoinOffer {
            token: Ok(TokenId::new("token00001")),
            registration_id: "0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20".into(),
            replace: false,
        }),
        ..Run::default()
    }
}

/// A Cloudly that accepts everything at once and asks for a heartbeat a minute.
fn cloudly(story: Story) -> (mpsc::Sender<Effect>, mpsc::Receiver<Event>) {
    let (mailbox, mut effects) = mpsc::channel::<Effect>(8);
    let (events, answers) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(effect) = effects.recv().await {
            story.lock().unwrap().push(effect.name().to_owned());
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
                        server_time: start(),
                    }),
                },
                Effect::Heartbeat { op, .. } => Event::BeatAnswered {
                    op,
                    orders: Box::new(Orders {
                        server_time: start(),
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

struct Rig {
    drive: Drive<PausedClock, Disk>,
    first: baserunner::lifecycle::Step,
    bus: Bus,
    disk: Disk,
    stop: CancellationToken,
    locals: mpsc::Receiver<Effect>,
    asks: mpsc::Sender<Event>,
    /// Nobody asks these, but their mailboxes must stay open.
    _silent: (mpsc::Receiver<Effect>, mpsc::Receiver<Effect>),
}

fn rig(dir: &Path, journal_bytes: u64) -> Rig {
    let mut clock = PausedClock::new(start(), 1);
    let disk = Disk::default();
    let (to_cloudly, answers) = cloudly(disk.story.clone());
    let (to_supervisor, supervisor) = mpsc::channel(8);
    let (to_lock_files, lock_files) = mpsc::channel(8);
    let (to_local_api, locals) = mpsc::channel(64);
    let (asks, asked) = mpsc::channel(64);
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
        vault: Arc::new(NoSecrets),
    };
    let bus = Bus::default()
        .with("cloudly", ReceiverStream::new(answers))
        .with("asked", ReceiverStream::new(asked));
    let drive = Drive::new(
        machine,
        clock,
        disk.clone(),
        journal,
        dispatch,
        Arc::new(Metrics::new("test")),
    );
    let stop = CancellationToken::new();
    Rig {
        drive,
        first,
        bus,
        disk,
        stop,
        locals,
        asks,
        _silent: (supervisor, lock_files),
    }
}

fn count(story: &Story, what: &str) -> usize {
    story.lock().unwrap().iter().filter(|line| *line == what).count()
}

#[tokio::test(start_paused = true)]
async fn it_beats_each_minute_says_goodbye_and_its_journal_replays_to_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let Rig {
        drive,
        first,
        bus,
        disk,
        stop,
        _silent,
        locals,
        asks,
    } = rig(dir.path(), 1 << 20);
    let running = tokio::spawn(drive.run(first, bus, stop.clone()));
    tokio::time::advance(Duration::from_secs(1)).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time passes only when somebody waits"
    )]
    tokio::time::sleep(Duration::from_secs(600)).await;
    let beats = count(&disk.story, "Heartbeat");
    assert!((9..=14).contains(&beats), "{beats} heartbeats in ten minutes");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(count(&disk.story, "Heartbeat(goodbye)"), 1);

    let journal = std::fs::read(dir.path().join(Journal::FILE)).unwrap();
    let mut lines = Vec::new();
    let machine = replay(&journal[..], |line| lines.push(line.to_owned())).unwrap();
    assert_eq!(machine.agent_state().as_str(), "idle");
    let replayed = lines.iter().filter(|line| line.contains(" Heartbeat#")).count();
    assert_eq!(replayed, beats, "{lines:#?}");
    drop((locals, asks));
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_is_written_before_the_effect_that_needs_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let Rig {
        drive,
        first,
        bus,
        disk,
        stop,
        _silent,
        locals,
        asks,
    } = rig(dir.path(), 1 << 20);
    let running = tokio::spawn(drive.run(first, bus, stop.clone()));
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time passes only when somebody waits"
    )]
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let story = disk.story.lock().unwrap().clone();
    assert_eq!(story[..2], ["saved registering", "Register"], "{story:?}");
    drop((locals, asks));
}

#[tokio::test(start_paused = true)]
async fn with_a_full_disk_nothing_is_begun_and_it_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Rig {
        drive,
        first,
        bus,
        disk,
        stop,
        _silent,
        locals,
        asks,
    } = rig(dir.path(), 1 << 20);
    *disk.full.lock().unwrap() = true;
    let running = tokio::spawn(drive.run(first, bus, stop.clone()));
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time passes only when somebody waits"
    )]
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(
        count(&disk.story, "Register"),
        0,
        "a registration that could be forgotten must not leave"
    );
    *disk.full.lock().unwrap() = false;
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time passes only when somebody waits"
    )]
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(count(&disk.story, "Register"), 1);
    assert!(count(&disk.story, "Heartbeat") > 5);
    stop.cancel();
    running.await.unwrap().unwrap();
    drop((locals, asks));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_fatal_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let Rig {
        drive,
        first,
        bus,
        stop,
        _silent,
        locals,
        asks,
        ..
    } = rig(dir.path(), 1 << 20);
    drop(asks);
    assert_eq!(drive.run(first, bus, stop).await, Err(DeadSource("asked")));
    drop(locals);
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_a_ring_and_each_part_of_it_replays() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 64 * 1024;
    let Rig {
        drive,
        first,
        bus,
        stop,
        _silent,
        mut locals,
        asks,
        ..
    } = rig(dir.path(), limit);
    let running = tokio::spawn(drive.run(first, bus, stop.clone()));
    for number in 0..2000 {
        let request = baserunner::lifecycle::effect::RequestId(number);
        asks.send(Event::LocalRequested {
            request,
            call: LocalCall::Status,
        })
        .await
        .unwrap();
        while !matches!(locals.recv().await, Some(Effect::Reply { .. })) {}
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let (mut total, mut files) = (0, 0);
    for name in [Journal::FILE.to_owned(), format!("{}.1", Journal::FILE)] {
        let journal = std::fs::read(dir.path().join(name)).unwrap();
        total += journal.len() as u64;
        files += 1;
        replay(&journal[..], |_| {}).unwrap();
    }
    assert!(files == 2 && total < 2 * limit, "{total} bytes");
}
