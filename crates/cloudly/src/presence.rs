//! Presence: who is there. Kept in memory and written behind, for it changes with every heartbeat.

use crate::clock::after;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::CLOCK_SKEW_SECONDS;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A node is `late` this long after its promise, seconds (contract §4.11).
const LATE_SECONDS: i64 = 20;
/// How often an earlier run must come back before it is a clone. Once can be a request that the network kept while
/// the agent restarted; a run that beats on beside its successor comes back twice.
const RETURNS_OF_A_CLONE: u32 = 2;

/// A node's promise to be back, and what is known from its last heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) last_seen_at: Timestamp,
    pub(crate) next_due_at: Timestamp,
    pub(crate) interval_seconds: u32,
    pub(crate) goodbye: bool,
    pub(crate) run_id: String,
    pub(crate) sequence: u64,
    pub(crate) previous_run_id: Option<String>,
    pub(crate) run_returns: u32,
    pub(crate) observed: u64,
    pub(crate) skew_since: Option<Timestamp>,
    pub(crate) skew_seconds: i64,
}

/// Whether a node is there (contract §4.11). `started_at`: since when this Cloudly has been up. A node that kept
/// its promise is online; only a silence is not judged until Cloudly has been up long enough to have heard it.
pub(crate) fn judge(promise: &Promise, now: Timestamp, started_at: Timestamp) -> PresenceState {
    let interval = i64::from(promise.interval_seconds);
    if promise.goodbye {
        PresenceState::Offline
    } else if now <= after(promise.next_due_at, LATE_SECONDS) {
        PresenceState::Online
    } else if promise.last_seen_at < started_at && now < after(started_at, 2 * interval) {
        PresenceState::Unknown
    } else if now <= after(promise.next_due_at, (2 * interval).max(60)) {
        PresenceState::Late
    } else {
        PresenceState::Offline
    }
}

/// What a heartbeat's place among the others says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A gap or a new run: the full status is wanted.
    pub(crate) gap: bool,
    /// It is from a run that has a successor: its status is older than what is known.
    pub(crate) stale: bool,
    /// Two agents use this identity.
    pub(crate) clone: bool,
}

/// The presence of all nodes.
#[derive(Default)]
pub(crate) struct Presence(Mutex<HashMap<String, Entry>>);

struct Entry {
    promise: Promise,
    dirty: bool,
}

impl Presence {
    /// Starts from what was written.
    pub(crate) fn new(stored: Vec<(String, Promise)>) -> Self {
        let entries = stored.into_iter().map(|(node, promise)| {
            (
                node,
                Entry {
                    promise,
                    dirty: false,
                },
            )
        });
        Self(Mutex::new(entries.collect()))
    }

    /// What is known of a node; `None`: it has never been heard from.
    pub(crate) fn get(&self, node: &str) -> Option<Promise> {
        self.lock().get(node).map(|entry| entry.promise.clone())
    }

    /// Takes in a heartbeat. The promise follows with [`Presence::promised`].
    pub(crate) fn heard(&self, node: &str, beat: &Heartbeat, now: Timestamp) -> Verdict {
        let mut entries = self.lock();
        let mut verdict = Verdict {
            gap: false,
            stale: false,
            clone: false,
        };
        let Some(entry) = entries.get_mut(node) else {
            let promise = first(beat, now);
            entries.insert(node.to_owned(), Entry { promise, dirty: true });
            return Verdict { gap: true, ..verdict };
        };
        entry.dirty = true;
        let promise = &mut entry.promise;
        promise.last_seen_at = now;
        if promise.run_id == beat.run_id {
            verdict.gap = beat.sequence > promise.sequence.saturating_add(1);
            promise.sequence = promise.sequence.max(beat.sequence);
        } else if promise.previous_run_id.as_ref() == Some(&beat.run_id) {
            promise.run_returns = promise.run_returns.saturating_add(1);
            verdict.stale = true;
            verdict.clone = promise.run_returns >= RETURNS_OF_A_CLONE;
            return verdict;
        } else {
            promise.previous_run_id = Some(std::mem::replace(&mut promise.run_id, beat.run_id.clone()));
            promise.run_returns = 0;
            promise.sequence = beat.sequence;
            verdict.gap = true;
        }
        promise.goodbye = beat.goodbye;
        promise.observed = beat.observed_revision;
        note_skew(promise, beat, now);
        verdict
    }

    /// Notes when the node has been told to be back.
    pub(crate) fn promised(&self, node: &str, interval_seconds: u32, now: Timestamp) {
        if let Some(entry) = self.lock().get_mut(node) {
            entry.promise.interval_seconds = interval_seconds;
            entry.promise.next_due_at = after(now, interval_seconds.into());
            entry.dirty = true;
        }
    }

    /// Forgets which runs there were, so that the next heartbeat's run counts.
    pub(crate) fn forget_runs(&self, node: &str) {
        if let Some(entry) = self.lock().get_mut(node) {
            entry.promise.previous_run_id = None;
            entry.promise.run_returns = 0;
            entry.dirty = true;
        }
    }

    /// The highest revision any node (or this one) says it has seen.
    pub(crate) fn highest_observed(&self, node: Option<&str>) -> u64 {
        let entries = self.lock();
        match node {
            Some(node) => entries.get(node).map_or(0, |entry| entry.promise.observed),
            None => entries
                .values()
                .map(|entry| entry.promise.observed)
                .max()
                .unwrap_or(0),
        }
    }

    /// What has changed since the last call.
    pub(crate) fn take_dirty(&self) -> Vec<(String, Promise)> {
        let mut entries = self.lock();
        let dirty = entries
            .iter_mut()
            .filter_map(|(node, entry)| std::mem::take(&mut entry.dirty).then_some((node, &entry.promise)));
        dirty
            .map(|(node, promise)| (node.clone(), promise.clone()))
            .collect()
    }

    /// Marks what could not be written, so that the next flush tries again.
    pub(crate) fn put_back(&self, unwritten: &[(String, Promise)]) {
        let mut entries = self.lock();
        for (node, _) in unwritten {
            if let Some(entry) = entries.get_mut(node) {
                entry.dirty = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first(beat: &Heartbeat, now: Timestamp) -> Promise {
    let mut promise = Promise {
        last_seen_at: now,
        next_due_at: now,
        interval_seconds: 0,
        goodbye: beat.goodbye,
        run_id: beat.run_id.clone(),
        sequence: beat.sequence,
        previous_run_id: None,
        run_returns: 0,
        observed: beat.observed_revision,
        skew_since: None,
        skew_seconds: 0,
    };
    note_skew(&mut promise, beat, now);
    promise
}

fn note_skew(promise: &mut Promise, beat: &Heartbeat, now: Timestamp) {
    let Some(sent_at) = beat.sent_at else { return };
    promise.skew_seconds = sent_at.as_second().saturating_sub(now.as_second());
    if promise.skew_seconds.abs() > CLOCK_SKEW_SECONDS {
        promise.skew_since.get_or_insert(now);
    } else {
        promise.skew_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn promise(interval: u32) -> Promise {
        Promise {
            last_seen_at: at(1000),
            next_due_at: at(1000 + i64::from(interval)),
            interval_seconds: interval,
            goodbye: false,
            run_id: "r".into(),
            sequence: 1,
            previous_run_id: None,
            run_returns: 0,
            observed: 0,
            skew_since: None,
            skew_seconds: 0,
        }
    }

    #[test]
    fn presence_follows_the_table_of_the_contract() {
        use PresenceState::{Late, Offline, Online};
        // (interval, seconds after the due time, expected)
        let table = [
            (60, -60, Online),
            (60, 0, Online),
            (60, 20, Online),
            (60, 21, Late),
            (60, 120, Late),
            (60, 121, Offline),
            (15, 60, Late),
            (15, 61, Offline),
            (300, 600, Late),
            (300, 601, Offline),
        ];
        for (interval, past_due, expected) in table {
            let now = at(1000 + i64::from(interval) + past_due);
            assert_eq!(
                judge(&promise(interval), now, at(0)),
                expected,
                "{interval} s, {past_due} s past due"
            );
        }
    }

    #[test]
    fn a_goodbye_is_offline_at_once_even_right_after_a_start() {
        let promise = Promise {
            goodbye: true,
            ..promise(60)
        };
        assert_eq!(judge(&promise, at(1000), at(999)), PresenceState::Offline);
    }

    #[test]
    fn a_silence_is_not_judged_until_cloudly_has_been_up_for_two_intervals() {
        let started = at(5000);
        assert_eq!(judge(&promise(60), at(5119), started), PresenceState::Unknown);
        assert_eq!(judge(&promise(60), at(5120), started), PresenceState::Offline);
    }

    #[test]
    fn a_node_heard_since_the_start_is_judged_at_once() {
        assert_eq!(judge(&promise(15), at(1040), at(990)), PresenceState::Late);
    }
}
