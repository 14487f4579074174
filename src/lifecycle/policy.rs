//! May this update start, wait, be forced, be retried, be rolled back? Pure functions over what is known.

use crate::lifecycle::book::Book;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::update::Update;
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::OnFailure;
use baseos_interfaces::status::{Blocker, BlockerKind};
use baseos_interfaces::window::{Opening, opening};
use std::time::Duration;

/// What holds an update back now, and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// All reasons; none: it may begin.
    pub blocked: Vec<Blocker>,
    /// When one of them may pass by itself (boot-time clock).
    pub recheck: Option<Millis>,
}

/// How long a blocked update waits at most before it looks again; everything that matters also raises an event.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// Whether `update` may begin. The order of the reasons is the order in which they are shown.
pub fn gate(l: &Lifecycle, update: &Update, now: Stamp) -> Gate {
    let mut gate = Gate::default();
    let policy = l.book.policy();
    let forced = policy.force.is_some();

    if let Some(problem) = &l.state_problem {
        gate.add(
            update,
            now,
            BlockerKind::StateNotWritable,
            None,
            Some(problem.clone()),
            None,
        );
    }
    if let Some(until) = update.not_before.filter(|until| *until > now.boot && !forced) {
        let reason = update.last_error.as_ref().map(|error| error.message.clone());
        gate.add(
            update,
            now,
            BlockerKind::RetryBackoff,
            None,
            reason,
            wall(now, until),
        );
        gate.look(until);
    }
    slot(&mut gate, l, update, now);
    disk(&mut gate, l, update, now);
    if !forced {
        window(&mut gate, l, update, now);
        consent(&mut gate, l, update, now, policy.require_local_approval);
        locks(&mut gate, l, update, now);
    }
    unseen(&mut gate, l, update, forced);
    if !gate.blocked.is_empty() {
        gate.look(now.boot + LOOK_AGAIN);
    }
    gate
}

fn slot(gate: &mut Gate, l: &Lifecycle, update: &Update, now: Stamp) {
    let Some(slot) = l.book.desired_app().and_then(|app| app.slot.as_ref()) else {
        return;
    };
    let server_now = l.beats.server_now(now.boot);
    let expired = match (slot.lease_expires_at, server_now) {
        (Some(at), Some(server_now)) => at <= server_now,
        // Granted in an answer of an earlier run, and Cloudly has not been heard since: it may be over.
        (Some(_), None) => true,
        (None, _) => false,
    };
    if !slot.granted || expired {
        let reason = if slot.granted {
            "the rollout's permission has run out"
        } else {
            "not this node's turn yet"
        };
        gate.add(
            update,
            now,
            BlockerKind::RolloutSlot,
            update.rollout.clone(),
            Some(reason.into()),
            None,
        );
    }
}

fn disk(gate: &mut Gate, l: &Lifecycle, update: &Update, now: Stamp) {
    let Some(free) = l.host.free_bytes else { return };
    let images: u64 = update
        .release
        .services
        .values()
        .filter_map(|service| service.size_bytes)
        .sum();
    let needed = images.saturating_add(l.run.reserve_bytes);
    if free < needed {
        let reason = format!("{} MiB free, {} MiB needed", free >> 20, needed.div_ceil(1 << 20));
        gate.add(update, now, BlockerKind::DiskSpace, None, Some(reason), None);
    }
}

fn window(gate: &mut Gate, l: &Lifecycle, update: &Update, now: Stamp) {
    let Some(app) = l.book.desired_app() else { return };
    if app.policy.windows.is_empty() {
        return;
    }
    // The device's own clock may lie by years; a window is judged by Cloudly's.
    let Some(server_now) = l.beats.server_now(now.boot) else {
        let reason = "Cloudly's clock has not been heard since the start".to_owned();
        gate.add(update, now, BlockerKind::Window, None, Some(reason), None);
        return;
    };
    if let Opening::Closed(next) = opening(&app.policy.windows, server_now) {
        let reason = match next {
            Some(at) => format!("the next maintenance window opens at {at}"),
            None => "no maintenance window opens: is one malformed?".to_owned(),
        };
        gate.add(update, now, BlockerKind::Window, None, Some(reason), next);
        if let Some(at) = next {
            let wait = at.as_millisecond().saturating_sub(server_now.as_millisecond());
            gate.look(now.boot + Duration::from_millis(u64::try_from(wait).unwrap_or(0)));
        }
    }
}

fn consent(gate: &mut Gate, l: &Lifecycle, update: &Update, now: Stamp, approval_required: bool) {
    let consent = &l.book.consent;
    let ours = consent.commit == update.commit();
    if let Some(deferral) = consent.deferral.as_ref().filter(|d| ours && d.until > now.boot) {
        let reason = Some(deferral.reason.clone());
        gate.add(
            update,
            now,
            BlockerKind::Deferred,
            None,
            reason,
            Some(deferral.until_wall),
        );
        gate.look(deferral.until);
    }
    if approval_required && !(ours && consent.approved) {
        let reason = Some("somebody at the device has to approve it".to_owned());
        gate.add(update, now, BlockerKind::Approval, None, reason, None);
    }
}

fn locks(gate: &mut Gate, l: &Lifecycle, update: &Update, now: Stamp) {
    // Whatever its scope: balena knows one lock for all of them, so the Supervisor would not get past the files that
    // are held for a lease against reboots either, and the release would seem to be at fault.
    for lease in l.book.leases.iter().filter(|lease| lease.until > now.boot) {
        gate.blocked.push(Blocker {
            kind: BlockerKind::LocalLock,
            holder: Some(lease.owner.clone()),
            reason: Some(lease.reason.clone()),
            since: lease.since_wall,
            expires_at: wall(now, lease.until),
        });
    }
    for path in &l.host.foreign_locks {
        let reason = Some("a lock file the agent did not make".to_owned());
        gate.add(
            update,
            now,
            BlockerKind::LocalLock,
            Some(path.clone()),
            reason,
            None,
        );
    }
}

/// Until the host has been looked at in this run, what it showed last holds: a start must not begin an update that a
/// full disk or somebody's lock file held back.
fn unseen(gate: &mut Gate, l: &Lifecycle, update: &Update, forced: bool) {
    if l.host_seen {
        return;
    }
    let owns = |holder: &Option<String>| {
        l.book
            .leases
            .iter()
            .any(|lease| holder.as_ref() == Some(&lease.owner))
    };
    let held = update.blocked.iter().filter(|blocker| match blocker.kind {
        BlockerKind::DiskSpace => true,
        BlockerKind::LocalLock => !forced && !owns(&blocker.holder),
        _ => false,
    });
    gate.blocked.extend(held.cloned());
}

impl Gate {
    fn add(
        &mut self,
        update: &Update,
        now: Stamp,
        kind: BlockerKind,
        holder: Option<String>,
        reason: Option<String>,
        expires_at: Option<Timestamp>,
    ) {
        // The same reason keeps its beginning, so an operator sees for how long it has held.
        let before = update
            .blocked
            .iter()
            .find(|blocker| blocker.kind == kind && blocker.holder == holder);
        let since = before.map_or(now.wall, |blocker| blocker.since);
        self.blocked.push(Blocker {
            kind,
            holder,
            reason,
            since,
            expires_at,
        });
    }

    fn look(&mut self, at: Millis) {
        self.recheck = Some(self.recheck.map_or(at, |before| before.min(at)));
    }
}

/// Whether locks are all that is in the way.
pub fn only_locks(blocked: &[Blocker]) -> bool {
    !blocked.is_empty()
        && blocked
            .iter()
            .all(|blocker| blocker.kind == BlockerKind::LocalLock)
}

/// The device's clock at a moment of the boot-time clock, for people.
pub fn wall(now: Stamp, at: Millis) -> Option<Timestamp> {
    let ahead = i64::try_from(at.0).ok()? - i64::try_from(now.boot.0).ok()?;
    Timestamp::from_millisecond(now.wall.as_millisecond().checked_add(ahead)?).ok()
}

/// What to do after an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again, not before this moment.
    Retry(Millis),
    /// The release is bad here: never again by itself.
    GiveUp,
}

/// Whether another attempt is left. A release that ran and was bad gets none: running it again would interrupt
/// the services again and prove nothing.
pub fn after_failure(book: &Book, update: &Update, ran: bool, now: Stamp) -> AfterFailure {
    let attempts = book.policy().max_attempts.max(1);
    if ran || update.attempt >= attempts {
        return AfterFailure::GiveUp;
    }
    let wait = super::backoff::ATTEMPT.delay(update.attempt.saturating_sub(1), now.entropy);
    AfterFailure::Retry(now.boot + wait)
}

/// Whether the agent goes back by itself.
pub fn rolls_back(book: &Book) -> bool {
    book.policy().on_failure == OnFailure::Rollback
}

/// How long a deferral asked for now may be: the rest of `maxDeferSeconds` since the update was first offered.
pub fn deferral_allowed(book: &Book, now: Stamp) -> Duration {
    let longest = Duration::from_secs(book.policy().max_defer_seconds.into());
    let used = book
        .consent
        .offered
        .map_or(Duration::ZERO, |offered| now.boot.since(offered.boot));
    longest.saturating_sub(used)
}
