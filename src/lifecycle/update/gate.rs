//! The gate: may this update begin now, and if not, what holds it back? Pure functions over what is known.

use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::update::platform::platform;
use crate::lifecycle::update::record::{Blocker, Rollback, Update};
use crate::lifecycle::update::target::Policy;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::status::BlockerKind;
use baseos_interfaces::terminal::time;
use baseos_interfaces::window::{Opening, opening};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a blocked update waits at most before it looks again; everything that matters also raises a signal.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// What holds an update back now, and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// All reasons; none: it may begin.
    pub(crate) blocked: Vec<Blocker>,
    /// When one of them may pass by itself (boot-time clock).
    pub(crate) recheck: Option<Millis>,
}

/// Whether `update` may begin. The order of the reasons is the order in which they are shown.
pub(crate) fn gate(l: &Shared, update: &Update, now: Stamp) -> Gate {
    let policy = l.durable.policy();
    let mut gate = GateKeeper {
        l,
        update,
        now,
        policy: &policy,
        gate: Gate::default(),
    };
    gate.state();
    gate.clone();
    gate.retry_backoff();
    gate.slot();
    gate.disk();
    if !policy.is_forced() {
        gate.rollback();
        gate.window();
        gate.consent();
        gate.locks();
    }
    gate.before_the_first_look();
    let mut gate = gate.gate;
    if !gate.blocked.is_empty() {
        gate.look_at(now.boot + LOOK_AGAIN);
    }
    gate
}

/// Whether locks are all that is in the way.
pub(crate) fn only_locks(blocked: &[Blocker]) -> bool {
    !blocked.is_empty()
        && blocked
            .iter()
            .all(|blocker| blocker.kind == BlockerKind::LocalLock)
}

impl Gate {
    fn look_at(&mut self, at: Millis) {
        self.recheck = Some(self.recheck.map_or(at, |before| before.min(at)));
    }
}

/// Each lease that lives, as a reason to wait.
pub(crate) fn leases(l: &Shared, now: Stamp) -> Vec<Blocker> {
    let live = l.durable.leases.iter().filter(|lease| lease.until > now.boot);
    live.map(|lease| {
        Blocker::new(BlockerKind::LocalLock, lease.since_wall)
            .held_by(Some(lease.owner.clone()))
            .because(lease.reason.clone())
            .until(now.wall_at(lease.until))
    })
    .collect()
}

struct GateKeeper<'a> {
    l: &'a Shared,
    update: &'a Update,
    now: Stamp,
    policy: &'a Policy,
    gate: Gate,
}

impl GateKeeper<'_> {
    fn blocker(&self, kind: BlockerKind) -> Blocker {
        Blocker::new(kind, self.now.wall)
    }

    /// Adds a reason that keeps its beginning if it held before.
    fn block(&mut self, blocker: Blocker) {
        self.gate.blocked.push(blocker.continuing(self.update.blocked()));
    }

    fn state(&mut self) {
        if let Some(problem) = &self.l.state_problem {
            self.block(
                self.blocker(BlockerKind::StateNotWritable)
                    .because(problem.clone()),
            );
        }
    }

    /// Whichever of the two agents this is: an operator says which one is to go on.
    fn clone(&mut self) {
        if self.l.heartbeats.clone_suspected() {
            let reason = "Cloudly sees two agents with this node's identity";
            self.block(self.blocker(BlockerKind::CloneSuspected).because(reason));
        }
    }

    fn retry_backoff(&mut self) {
        let until = self.update.not_before.filter(|until| *until > self.now.boot);
        let heard = self.l.heartbeats.last_contact().is_some();
        let over = if self.update.until_heard {
            heard
        } else {
            self.policy.is_forced()
        };
        let Some(until) = until.filter(|_| !over) else {
            return;
        };
        let mut blocker = self
            .blocker(BlockerKind::RetryBackoff)
            .until(self.now.wall_at(until));
        blocker.reason = self.update.last_error.as_ref().map(|error| error.message.clone());
        self.block(blocker);
        self.gate.look_at(until);
    }

    fn slot(&mut self) {
        let Some(slot) = self.l.durable.desired_app().and_then(|app| app.slot.as_ref()) else {
            return;
        };
        let server_now = self.l.heartbeats.server_now(self.now.boot);
        let expired = match (slot.expires_at, server_now) {
            (Some(at), Some(server_now)) => at <= server_now,
            // Granted in an answer of an earlier run, and Cloudly has not been heard since: it may be over.
            (Some(_), None) => true,
            (None, _) => false,
        };
        let reason = match (slot.granted, expired) {
            (true, false) => return,
            (true, true) => "the rollout's permission has run out",
            (false, _) => "not this node's turn yet",
        };
        self.block(
            self.blocker(BlockerKind::RolloutSlot)
                .held_by(self.update.rollout.clone())
                .because(reason),
        );
    }

    fn disk(&mut self) {
        let Some(free) = self.l.host.free_bytes else {
            return;
        };
        let (images, reserve) = (self.missing_images(), self.l.run.reserve_bytes);
        if free < images.saturating_add(reserve) {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let reason = format!(
                "{} MiB free, {} MiB needed ({} to download and a reserve of {})",
                free >> 20,
                mib(images.saturating_add(reserve)),
                mib(images),
                mib(reserve)
            );
            self.block(self.blocker(BlockerKind::DiskSpace).because(reason));
        }
    }

    /// What the images that are not on the engine yet need, bytes.
    fn missing_images(&self) -> u64 {
        let architecture = self.l.run.node.architecture.as_deref();
        let platform = architecture.and_then(platform);
        let missing: BTreeMap<&str, u64> = self
            .update
            .release
            .services
            .values()
            .filter(|service| !self.l.durable.target.is_present(&service.image))
            .map(|service| (service.image.as_str(), service.needed_bytes(platform)))
            .collect_tree();
        missing.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn rollback(&mut self) {
        let problem = self.update.rollback.as_ref().and_then(Rollback::problem);
        if let Some(problem) = problem.filter(|_| self.policy.requires_rollback) {
            self.block(self.blocker(BlockerKind::RollbackImpossible).because(problem));
        }
    }

    /// The device's own clock may be wrong by years; a window is judged by Cloudly's.
    fn window(&mut self) {
        let Some(app) = self.l.durable.desired_app() else {
            return;
        };
        if app.policy.windows.is_empty() {
            return;
        }
        let blocker = self.blocker(BlockerKind::Window);
        let Some(server_now) = self.l.heartbeats.server_now(self.now.boot) else {
            return self.block(blocker.because("Cloudly's clock has not been heard since the start"));
        };
        let Opening::Closed(next) = opening(&app.policy.wire_windows(), server_now) else {
            return;
        };
        let Some(at) = next else {
            return self.block(blocker.because("no maintenance window opens: is one malformed?"));
        };
        let reason = format!("the next maintenance window opens at {}", time(at));
        self.block(blocker.because(reason).until(Some(at)));
        let wait = at.as_millisecond().saturating_sub(server_now.as_millisecond());
        self.gate
            .look_at(self.now.boot + Duration::from_millis(u64::try_from(wait).unwrap_or(0)));
    }

    fn consent(&mut self) {
        let (commit, consent) = (self.update.commit(), &self.l.durable.consent);
        if let Some(deferral) = consent.deferral(commit, self.now.boot) {
            let blocker = self
                .blocker(BlockerKind::Deferred)
                .because(deferral.reason.clone())
                .until(Some(deferral.until_wall));
            self.block(blocker);
            self.gate.look_at(deferral.until);
        }
        if self.policy.requires_local_approval && !consent.is_approved(commit) {
            let reason = "somebody at the device has to approve it";
            self.block(self.blocker(BlockerKind::Approval).because(reason));
        }
    }

    /// Leases of every scope: balena knows one lock for all of them, so the Supervisor would not get past the files
    /// that are held for a lease against reboots either, and the release would seem to be at fault.
    fn locks(&mut self) {
        self.gate.blocked.extend(leases(self.l, self.now));
        for path in &self.l.host.foreign_locks {
            self.block(foreign_lock(path, self.now));
        }
    }

    /// Until the host has been looked at in this run, what it showed last holds: a start must not begin an update
    /// that a full disk or a foreign lock file held back.
    fn before_the_first_look(&mut self) {
        if self.l.host_seen {
            return;
        }
        let owners = self.l.durable.leases.owners();
        let is_lease = |blocker: &Blocker| {
            blocker
                .holder
                .as_ref()
                .is_some_and(|holder| owners.contains(holder))
        };
        let held = self.update.blocked().iter().filter(|blocker| match blocker.kind {
            BlockerKind::DiskSpace => true,
            BlockerKind::LocalLock => !self.policy.is_forced() && !is_lease(blocker),
            _ => false,
        });
        self.gate.blocked.extend(held.cloned());
    }
}

/// A lock file that this agent did not make holds the update back.
pub(crate) fn foreign_lock(path: &str, now: Stamp) -> Blocker {
    Blocker::new(BlockerKind::LocalLock, now.wall)
        .held_by(Some(path.to_owned()))
        .because("a lock file the agent did not make")
}
