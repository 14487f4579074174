//! The book: everything the machine must still know after a power cut. It is the body of the checkpoint.

use crate::lifecycle::commands::CommandBook;
use crate::lifecycle::facts::Run;
use crate::lifecycle::leases::Leases;
use crate::lifecycle::target::TargetBook;
use crate::lifecycle::time::{Millis, Stamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::{Desired, DesiredApp, Policy, Release};
use baseos_interfaces::heartbeat::NodeEvent;
use baseos_interfaces::register::{Approval, Fleet};
use baseos_interfaces::status::UpdateError;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};

/// Events kept until Cloudly has them; the oldest go first.
const OUTBOX: usize = 64;
/// Releases whose failures are remembered.
const REMEMBERED: usize = 32;

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Counts starts of the agent; the upper half of every operation id.
    pub epoch: u64,
    /// The boot all marks below belong to.
    pub boot_id: String,
    /// Who this node is, once enrolled.
    pub node: Option<Node>,
    /// What became of join tokens.
    pub join: Join,
    /// The newest desired state.
    pub desired: Option<Desired>,
    /// The policy that came with the last release that was desired: it governs the way back from a release that was
    /// withdrawn.
    pub last_policy: Option<Policy>,
    /// The release that runs and has proved itself.
    pub good: Option<Release>,
    /// The one before it.
    pub previous: Option<Release>,
    /// What happened to releases on this node, by commit.
    pub memory: BTreeMap<String, Memory>,
    /// Ids, volumes and the last target.
    pub target: TargetBook,
    /// Local consent to the present update.
    pub consent: Consent,
    /// Update locks.
    pub leases: Leases,
    /// Commands.
    pub commands: CommandBook,
    /// What Cloudly has not heard yet.
    pub outbox: VecDeque<NodeEvent>,
    /// Numbers the events.
    pub last_event: u64,
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// `node_…`.
    pub id: String,
    /// Whether an operator let it in.
    pub approval: Approval,
    /// Why approval is pending.
    pub approval_reason: Option<String>,
    /// Where it belongs.
    pub fleet: Option<Fleet>,
    /// Whether Cloudly has accepted a heartbeat from it.
    pub confirmed: bool,
    /// The epoch it was enrolled in; later starts count as restarts.
    pub enrolled_epoch: u64,
    /// Cloudly's minimum between heartbeats, seconds.
    pub min_heartbeat_seconds: u32,
    /// When the next heartbeat is due unless Cloudly says otherwise, seconds.
    pub heartbeat_seconds: u32,
}

/// What became of join tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Join {
    /// The registration under way: on disk before the first call, repeated until it is answered.
    pub registration: Option<PendingRegistration>,
    /// Refused: final until another token comes.
    pub refused: Option<RefusedToken>,
    /// Used up: never offered again for this identity.
    pub spent: Option<TokenId>,
}

/// A registration that is not yet confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRegistration {
    /// The join token's public id.
    pub token: TokenId,
    /// The registration's own id.
    pub id: String,
}

/// A join token Cloudly refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedToken {
    /// Its public id.
    pub token: TokenId,
    /// Cloudly's words.
    pub reason: String,
    /// Device's clock.
    pub at: Timestamp,
}

/// What happened to one release on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Attempts begun.
    pub attempts: u32,
    /// Why it is never to be tried again by itself.
    pub known_bad: Option<UpdateError>,
    /// The desired revision at which it was found bad; only a later one can order another try.
    pub revision: u64,
    /// Orders the memories, for forgetting.
    pub order: u64,
}

/// Local consent to one update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consent {
    /// The commit it is about; for any other it does not count.
    pub commit: String,
    /// Since when this update has been offered.
    pub offered: Option<Mark>,
    /// Somebody at the device approved.
    pub approved: bool,
    /// Somebody at the device deferred it.
    pub deferral: Option<Deferral>,
}

/// A deferral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// Boot-time clock.
    pub until: Millis,
    /// Device's clock, for people.
    pub until_wall: Timestamp,
    /// Why.
    pub reason: String,
    /// Device's clock.
    pub since: Timestamp,
}

/// A moment on both clocks: the first decides, the second is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Boot-time clock.
    pub boot: Millis,
    /// Device's clock.
    pub wall: Timestamp,
}

impl From<Stamp> for Mark {
    fn from(now: Stamp) -> Self {
        Self {
            boot: now.boot,
            wall: now.wall,
        }
    }
}

impl Book {
    /// The desired app release, if one is desired.
    pub fn desired_app(&self) -> Option<&DesiredApp> {
        self.desired.as_ref()?.app.as_ref()
    }

    /// The policy in force: that of what is desired, else of what was desired last, else the default.
    pub fn policy(&self) -> Policy {
        let desired = self.desired_app().map(|app| &app.policy);
        desired.or(self.last_policy.as_ref()).cloned().unwrap_or_default()
    }

    /// The desired revision this node works on.
    pub fn revision(&self) -> u64 {
        self.desired.as_ref().map_or(0, |desired| desired.revision)
    }

    /// Why a commit is known to be bad here.
    pub fn known_bad(&self, commit: &str) -> Option<&UpdateError> {
        self.memory.get(commit)?.known_bad.as_ref()
    }

    /// The memory of a commit, made if need be; the oldest is forgotten for it.
    pub fn remember(&mut self, commit: &str) -> &mut Memory {
        let order = self.memory.values().map(|memory| memory.order).max().unwrap_or(0) + 1;
        if !self.memory.contains_key(commit) && self.memory.len() >= REMEMBERED {
            let oldest = self.memory.iter().min_by_key(|(_, memory)| memory.order);
            if let Some(oldest) = oldest.map(|(commit, _)| commit.clone()) {
                self.memory.remove(&oldest);
            }
        }
        let memory = self.memory.entry(commit.to_owned()).or_default();
        memory.order = order;
        memory
    }

    /// The release that runs has proved itself.
    pub fn prove(&mut self, release: &Release) {
        self.memory.remove(&release.commit);
        if self.good.as_ref().map(|good| &good.commit) != Some(&release.commit) {
            self.previous = self.good.take();
        }
        self.good = Some(release.clone());
    }

    /// Revisions begin anew (another identity, or an operator's reset): any from now on is later than what was found
    /// out about releases before.
    pub(super) fn recount(&mut self) {
        for memory in self.memory.values_mut() {
            memory.revision = 0;
        }
    }

    /// Keeps an event for Cloudly.
    pub fn note(&mut self, now: Stamp, kind: &str, data: serde_json::Value) {
        self.last_event += 1;
        let id = format!("e_{}_{}", self.epoch, self.last_event);
        if self.outbox.len() >= OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(NodeEvent {
            id,
            at: now.wall,
            kind: kind.to_owned(),
            data,
        });
    }

    /// Begins a new run: counts it, and carries every mark over when the device has rebooted in between, because
    /// the boot-time clock started anew then. `saved` is what that clock said when the book was written.
    pub(super) fn begin(&mut self, run: &Run, saved: Millis, now: Stamp) {
        self.epoch += 1;
        let rebooted = self.boot_id != run.boot_id;
        self.commands.settle_after_restart(rebooted, now);
        if !rebooted {
            return;
        }
        self.boot_id.clone_from(&run.boot_id);
        self.leases.drop_all();
        if let Some(offered) = &mut self.consent.offered {
            offered.boot = now.boot;
        }
        if let Some(deferral) = &mut self.consent.deferral {
            deferral.until = now.boot + deferral.until.since(saved);
        }
    }
}

/// A value that counts how often somebody asked to change it, so that nobody compares what nobody touched.
#[derive(Clone, Debug, Default)]
pub struct Tracked<T> {
    value: T,
    touches: u64,
}

impl<T> Tracked<T> {
    /// Untouched.
    pub fn new(value: T) -> Self {
        Self { value, touches: 0 }
    }

    /// How often it may have changed.
    pub fn touches(&self) -> u64 {
        self.touches
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.touches += 1;
        &mut self.value
    }
}
