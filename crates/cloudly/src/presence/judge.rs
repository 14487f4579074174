//! What heartbeats say about presence, and what their absence says. Pure: the time is an argument.

use super::runs::{Runs, Sequence};
use crate::clock::after;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::CLOCK_SKEW_SECONDS;

/// A node is `late` this long after its heartbeat was due, seconds (contract §4.11).
const LATE_SECONDS: i64 = 20;
/// What is known of a node from its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) last_seen_at: Timestamp,
    pub(crate) next_due_at: Timestamp,
    pub(crate) interval_seconds: u32,
    /// The node announced a clean stop with its last heartbeat.
    pub(crate) goodbye: bool,
    pub(crate) runs: Runs,
    pub(crate) observed: u64,
    pub(crate) skew_since: Option<Timestamp>,
    pub(crate) skew_seconds: i64,
}

impl Presence {
    /// After a node's very first heartbeat.
    pub(crate) fn first(heartbeat: &Heartbeat, now: Timestamp) -> Self {
        let mut presence = Self {
            last_seen_at: now,
            next_due_at: now,
            interval_seconds: 0,
            goodbye: false,
            runs: Runs::default(),
            observed: 0,
            skew_since: None,
            skew_seconds: 0,
        };
        presence.update(heartbeat, now);
        presence
    }

    /// Takes in a heartbeat.
    pub(crate) fn update(&mut self, heartbeat: &Heartbeat, now: Timestamp) -> Sequence {
        self.last_seen_at = now;
        let sequence = self
            .runs
            .hear(&heartbeat.run_id, heartbeat.sequence, self.interval_seconds, now);
        if matches!(sequence, Sequence::Next | Sequence::Gap) {
            self.goodbye = heartbeat.goodbye;
            self.observed = heartbeat.observed_revision;
            self.note_skew(heartbeat, now);
        }
        sequence
    }

    fn note_skew(&mut self, heartbeat: &Heartbeat, now: Timestamp) {
        let Some(sent_at) = heartbeat.sent_at else { return };
        self.skew_seconds = sent_at.as_second().saturating_sub(now.as_second());
        if self.skew_seconds.abs() > CLOCK_SKEW_SECONDS {
            self.skew_since.get_or_insert(now);
        } else {
            self.skew_since = None;
        }
    }
}

/// Whether a node is there (contract §4.11). A node that is not overdue is online; silence is not judged until this
/// Cloudly, which runs since `started_at`, has been up long enough to have heard the node.
pub(crate) fn judge(presence: &Presence, now: Timestamp, started_at: Timestamp) -> PresenceState {
    let interval = i64::from(presence.interval_seconds);
    if presence.goodbye {
        PresenceState::Offline
    } else if now <= after(presence.next_due_at, LATE_SECONDS) {
        PresenceState::Online
    } else if presence.last_seen_at < started_at && now < after(started_at, 2 * interval) {
        PresenceState::Unknown
    } else if now <= after(presence.next_due_at, (2 * interval).max(60)) {
        PresenceState::Late
    } else {
        PresenceState::Offline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn presence(interval: u32) -> Presence {
        Presence {
            last_seen_at: at(1000),
            next_due_at: at(1000 + i64::from(interval)),
            interval_seconds: interval,
            goodbye: false,
            runs: Runs::default(),
            observed: 0,
            skew_since: None,
            skew_seconds: 0,
        }
    }

    #[test]
    fn presence_follows_the_table_in_the_contract() {
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
                judge(&presence(interval), now, at(0)),
                expected,
                "{interval} s, {past_due} s past due"
            );
        }
    }

    #[test]
    fn a_goodbye_is_offline_at_once_even_right_after_a_start() {
        let presence = Presence {
            goodbye: true,
            ..presence(60)
        };
        assert_eq!(judge(&presence, at(1000), at(999)), PresenceState::Offline);
    }

    #[test]
    fn silence_is_not_judged_until_cloudly_has_been_up_for_two_intervals() {
        let started = at(5000);
        assert_eq!(judge(&presence(60), at(5119), started), PresenceState::Unknown);
        assert_eq!(judge(&presence(60), at(5120), started), PresenceState::Offline);
    }

    #[test]
    fn a_node_heard_since_the_start_is_judged_at_once() {
        assert_eq!(judge(&presence(15), at(1040), at(990)), PresenceState::Late);
    }
}
