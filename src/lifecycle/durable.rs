//! The durable record: everything the machine must still know after a power cut. It is the body of the checkpoint
//! and holds the machine's own types; only what both ends share (codes, states, scopes, ids, the form of a volume's
//! definition) is the wire contract's.

use crate::lifecycle::cloudly::commands::Commands;
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::cloudly::join::Join;
use crate::lifecycle::cloudly::outbox::Outbox;
use crate::lifecycle::cloudly::wall_clock::HeardTime;
use crate::lifecycle::facts::Run;
use crate::lifecycle::guard::record::GuardRecord;
use crate::lifecycle::healing::record::Healing;
use crate::lifecycle::locks::leases::Leases;
use crate::lifecycle::supervisor_target::builder::History;
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use crate::lifecycle::time::{Millis, Reboot, Stamp};
use crate::lifecycle::update::consent::Consent;
use crate::lifecycle::update::release_memory::ReleaseMemory;
use crate::lifecycle::update::superseded::Superseded;
use crate::lifecycle::update::target::{AppTarget, Desired, Policy, Release};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Durable {
    /// Counts starts of the agent; the upper half of every operation id.
    pub(crate) epoch: u64,
    /// The boot that every moment of the boot-time clock below belongs to.
    pub(crate) boot_id: String,
    /// Who this node is, once enrolled.
    pub(crate) node: Option<Node>,
    /// The identity before this one, until Cloudly has accepted a heartbeat of this one.
    pub(crate) earlier_node: Option<Node>,
    /// What became of join tokens.
    pub(crate) join: Join,
    /// The newest desired state.
    pub(crate) desired: Option<Desired>,
    /// The policy that came with the last release that was desired: it governs the way back from a release that was
    /// withdrawn.
    pub(crate) last_policy: Option<Policy>,
    /// The release that runs and has proved itself.
    pub(crate) proven: Option<Release>,
    /// The one before it.
    pub(crate) previous: Option<Release>,
    /// The release that was superseded after it was handed over: it may run until another one is handed over.
    pub(crate) superseded: Option<Superseded>,
    /// What was done about services that had stopped, and which of them an operator stopped.
    pub(crate) healing: Healing,
    /// The release that ran before this agent put one in place: what the first update goes back to.
    pub(crate) fallback: Option<Release>,
    /// What happened to releases on this node.
    pub(crate) memory: ReleaseMemory,
    /// The guard of the agent's own update.
    pub(crate) guard: GuardRecord,
    /// Ids, volumes and the last target.
    pub(crate) target: TargetRecord,
    /// Local consent to the present update.
    pub(crate) consent: Consent,
    /// Update locks.
    pub(crate) leases: Leases,
    pub(crate) commands: Commands,
    /// What Cloudly has not heard yet.
    pub(crate) outbox: Outbox,
    /// Cloudly's clock, as it was last noted.
    pub(crate) heard_time: Option<HeardTime>,
}

impl Durable {
    pub(crate) fn desired_app(&self) -> Option<&AppTarget> {
        self.desired.as_ref()?.app.as_ref()
    }

    /// The policy in force: that of what is desired, else of what was desired last, else the default.
    pub(crate) fn policy(&self) -> Policy {
        let desired = self.desired_app().map(|app| &app.policy);
        desired.or(self.last_policy.as_ref()).cloned().unwrap_or_default()
    }

    /// The desired revision this node works on; 0: none was seen.
    pub(crate) fn revision(&self) -> u64 {
        self.desired.as_ref().map_or(0, |desired| desired.revision)
    }

    pub(crate) fn is_proven(&self, commit: &str) -> bool {
        self.proven.as_ref().is_some_and(|proven| proven.commit == commit)
    }

    /// Whether this very release, under its commit, has proved itself here.
    pub(crate) fn history(&self, release: &Release) -> History {
        let mut proven = self.proven.iter().chain(&self.previous);
        if proven.any(|proven| proven == release) {
            History::Proven
        } else {
            History::New
        }
    }

    /// The release that runs has proved itself.
    pub(crate) fn prove(&mut self, release: &Release) {
        self.memory.forget(&release.commit);
        if !self.is_proven(&release.commit) {
            let fallback = self.fallback.take();
            let before = self.proven.take().or(fallback);
            self.previous = before.filter(|before| before.commit != release.commit);
        }
        self.proven = Some(release.clone());
    }

    /// Begins a new run: counts it, and carries every moment over when the device has rebooted in between. `saved` is
    /// what the boot-time clock said when the record was written.
    pub(crate) fn begin(&mut self, run: &Run, saved: Millis, now: Stamp) {
        self.epoch += 1;
        let rebooted = self.boot_id != run.boot_id;
        self.commands
            .settle_after_restart(rebooted, &mut self.healing, now);
        if rebooted {
            self.boot_id.clone_from(&run.boot_id);
            self.leases.drop_all();
            let reboot = Reboot { saved, now };
            self.consent.carry_over(reboot);
            self.healing.carry_over(reboot);
            self.guard.carry_over(reboot);
            if let Some(heard) = &mut self.heard_time {
                heard.carry_over(reboot);
            }
        }
    }
}

/// A value that counts how often it may have been changed, so that an untouched one need not be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracked<T> {
    value: T,
    touches: u64,
}

impl<T> Tracked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, touches: 0 }
    }

    /// How often it may have changed.
    pub(crate) fn touches(&self) -> u64 {
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
