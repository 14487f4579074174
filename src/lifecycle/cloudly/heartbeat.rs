//! Heartbeats: when the next one is due, what it must carry, and what became of the last (contract §4).

use crate::lifecycle::backoff::{self, jittered};
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::lifecycle::report::size_limit::{Filled, SizeLimit};
use crate::lifecycle::time::{Millis, Moment, Stamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Instructions;
use baseos_interfaces::limits::{BACKOFF_CAP_SECONDS, CLOCK_SKEW_SECONDS, MIN_HEARTBEAT_SECONDS};
use baseos_interfaces::status::NodeStatus;
use std::time::Duration;

/// How long a clean stop waits for Cloudly to hear the goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);
/// The shortest and longest interval that is believed, seconds.
const INTERVAL: std::ops::RangeInclusive<u32> = 1..=86_400;

/// The state of the conversation with Cloudly. Not in the checkpoint: a new run starts a new conversation, so an
/// idle device writes nothing to its disk.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeats {
    sequence: u64,
    interval: Duration,
    minimum: Duration,
    size_limit: SizeLimit,
    sent_at: Option<Millis>,
    urgent: bool,
    /// The hash of the status Cloudly has.
    known_hash: Option<String>,
    /// The last status that was hashed, and its hash: most heartbeats find the same one again.
    hashed: Option<(Box<NodeStatus>, String)>,
    /// The heartbeat under way.
    sent: Option<Sent>,
    failures: u32,
    last_failure: Option<CallFailure>,
    last_contact: Option<Moment>,
    /// Cloudly's clock minus the boot-time clock, milliseconds.
    server_offset: Option<i64>,
    /// Whether this run has moved to the node's own place in the interval.
    phased: bool,
    reported_percent: Option<u8>,
    clone_suspected: bool,
}

/// What a heartbeat carries, to be ticked off when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) hash: String,
    /// Its events and results.
    pub(crate) carried: Filled,
    pub(crate) goodbye: bool,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self {
            sequence: 0,
            interval: Duration::from_secs(60),
            minimum: Duration::from_secs(MIN_HEARTBEAT_SECONDS.into()),
            size_limit: SizeLimit::default(),
            sent_at: None,
            urgent: false,
            known_hash: None,
            hashed: None,
            sent: None,
            failures: 0,
            last_failure: None,
            last_contact: None,
            server_offset: None,
            phased: false,
            reported_percent: None,
            clone_suspected: false,
        }
    }
}

impl Heartbeats {
    /// Takes over what Cloudly told this node at its registration.
    pub(crate) fn configure(&mut self, node: &Node) {
        self.minimum = Duration::from_secs(node.min_heartbeat_seconds.clamp(1, 3600).into());
        self.set_interval(node.heartbeat_seconds);
        self.size_limit = SizeLimit::new(node.max_body_bytes);
        // What a status is cut to depends on it.
        self.hashed = None;
    }

    /// How large a heartbeat may be.
    pub(crate) fn size_limit(&self) -> SizeLimit {
        self.size_limit
    }

    fn set_interval(&mut self, seconds: u32) {
        self.interval = Duration::from_secs(seconds.clamp(*INTERVAL.start(), *INTERVAL.end()).into());
    }

    /// Something happened that Cloudly should hear before the next regular heartbeat.
    pub(crate) fn urge(&mut self) {
        self.urgent = true;
    }

    /// Download progress is worth a heartbeat of its own every five percent.
    pub(crate) fn hear_progress(&mut self, percent: Option<u8>) {
        if percent.map(|percent| percent / 5) != self.reported_percent.map(|percent| percent / 5) {
            self.reported_percent = percent;
            self.urgent = true;
        }
    }

    /// When an urgent heartbeat may leave: no sooner than Cloudly's minimum after the last one. While calls fail, the
    /// back-off decides.
    pub(crate) fn urgent_at(&self, now: Millis) -> Option<Millis> {
        if !self.urgent || self.failures > 0 {
            return None;
        }
        Some(self.sent_at.map_or(now, |sent| (sent + self.minimum).max(now)))
    }

    /// The number of the heartbeat that is being written.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A heartbeat leaves now.
    pub(crate) fn begin(&mut self, sent: Sent, now: Millis) {
        self.sent_at = Some(now);
        self.urgent = false;
        self.sent = Some(sent);
    }

    /// What the heartbeat under way carries.
    pub(crate) fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }

    /// The hash of this status, if it is the last one that was hashed.
    pub(crate) fn hash_of(&self, status: &NodeStatus) -> Option<&str> {
        let (hashed, hash) = self.hashed.as_ref()?;
        (**hashed == *status).then_some(hash)
    }

    /// Remembers the hash of a status.
    pub(crate) fn note_hash(&mut self, status: NodeStatus, hash: String) {
        self.hashed = Some((Box::new(status), hash));
    }

    /// Whether Cloudly has a status with this hash.
    pub(crate) fn knows(&self, hash: &str) -> bool {
        self.known_hash.as_deref() == Some(hash)
    }

    /// Cloudly accepted; returns when the next regular heartbeat is due.
    pub(crate) fn accepted(
        &mut self,
        instructions: &Instructions,
        node_id: Option<&str>,
        now: Stamp,
    ) -> Millis {
        self.failures = 0;
        self.last_failure = None;
        self.last_contact = Some(now.into());
        self.clone_suspected = instructions.clone_suspected;
        self.set_interval(instructions.next_heartbeat_seconds);
        self.known_hash = match self.sent.take() {
            Some(sent) if !instructions.resend_full_status => Some(sent.hash),
            _ => None,
        };
        if instructions.resend_full_status {
            self.urgent = true;
        }
        if self.phased {
            // Spread, but not below the minimum, unless Cloudly's own interval is.
            return now.boot + jittered(self.interval, now.entropy).max(self.minimum.min(self.interval));
        }
        // Once per run a node moves to its own place in the interval, so nodes that started together part.
        self.phased = true;
        let number = |id: &str| {
            id.bytes()
                .fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()))
        };
        let place = node_id.map_or(now.entropy, number) % 1000;
        let share = self.interval.as_millis() as u64 * place / 1000;
        now.boot + Duration::from_millis(share).max(self.minimum)
    }

    /// Cloudly did not accept; returns when to try again.
    pub(crate) fn failed(&mut self, failure: &CallFailure, now: Stamp) -> Millis {
        self.sent = None;
        if let Some(seconds) = failure.next_heartbeat_seconds {
            self.set_interval(seconds);
        }
        let wait = backoff::after(failure.retry_after_seconds, self.failures, now.entropy);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(failure.clone());
        now.boot + wait
    }

    pub(crate) fn hear_clock(&mut self, server_time: Timestamp, now: Stamp) {
        let boot = i64::try_from(now.boot.0).unwrap_or(i64::MAX);
        self.server_offset = server_time.as_millisecond().checked_sub(boot);
    }

    /// Cloudly's clock, if it has been heard in this run.
    pub(crate) fn server_now(&self, now: Millis) -> Option<Timestamp> {
        let millis = self.server_offset?.checked_add(i64::try_from(now.0).ok()?)?;
        Timestamp::from_millisecond(millis).ok()
    }

    /// Cloudly sees two agents with this identity; nothing is begun until an operator has cleared it.
    pub(crate) fn clone_suspected(&self) -> bool {
        self.clone_suspected
    }

    /// How far the device's clock is off, seconds, when that is worth reporting.
    pub(crate) fn skew_seconds(&self, now: Stamp) -> Option<i64> {
        let off = now.wall.as_second() - self.server_now(now.boot)?.as_second();
        (off.abs() > CLOCK_SKEW_SECONDS).then_some(off)
    }

    /// The last failure, unless Cloudly has accepted a call since.
    pub(crate) fn last_failure(&self) -> Option<&CallFailure> {
        self.last_failure.as_ref()
    }

    /// Whether Cloudly no longer knows this node, so a new join token would be taken up.
    pub(crate) fn is_disowned(&self) -> bool {
        let kind = self.last_failure.as_ref().map(|failure| failure.kind);
        matches!(
            kind,
            Some(CallFailureKind::Unauthorized | CallFailureKind::Removed | CallFailureKind::NoCredentials)
        )
    }

    /// Calls that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// When Cloudly last accepted a call.
    pub(crate) fn last_contact(&self) -> Option<Moment> {
        self.last_contact
    }
}

const _: () = assert!(BACKOFF_CAP_SECONDS as u64 == backoff::CLOUDLY.cap.as_secs());

#[cfg(test)]
mod tests;
