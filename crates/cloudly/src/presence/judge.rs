//! What heartbeats say about presence, and what their absence says. Pure: the time is an argument.

use crate::clock::after;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::CLOCK_SKEW_SECONDS;

/// A node is `late` this long after its heartbeat was due, seconds (contract §4.11).
const LATE_SECONDS: i64 = 20;
/// How often an earlier run must return before a clone is suspected. One return can be a request that the network
/// delayed while the agent restarted; a run that goes on beside its successor returns twice.
const CLONE_RETURNS: u32 = 2;

/// What is known of a node from its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) last_seen_at: Timestamp,
    pub(crate) next_due_at: Timestamp,
    pub(crate) interval_seconds: u32,
    /// The node announced a clean stop with its last heartbeat.
    pub(crate) goodbye: bool,
    pub(crate) run_id: String,
    pub(crate) sequence: u64,
    pub(crate) previous_run_id: Option<String>,
    /// How often the previous run has returned.
    pub(crate) run_returns: u32,
    pub(crate) observed: u64,
    pub(crate) skew_since: Option<Timestamp>,
    pub(crate) skew_seconds: i64,
}

/// What a heartbeat's run and sequence number say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    Next,
    /// Heartbeats are missing, or the run is new: the full status is needed.
    Gap,
    /// The run already has a successor, or a later heartbeat of it came before: its status is older than the stored one.
    Stale,
    /// Stale, and the run has returned so often that two agents seem to use this identity.
    CloneSuspected,
}

impl Presence {
    /// After a node's very first heartbeat.
    pub(crate) fn first(heartbeat: &Heartbeat, now: Timestamp) -> Self {
        let mut presence = Self {
            last_seen_at: now,
            next_due_at: now,
            interval_seconds: 0,
            goodbye: heartbeat.goodbye,
            run_id: heartbeat.run_id.clone(),
            sequence: heartbeat.sequence,
            previous_run_id: None,
            run_returns: 0,
            observed: heartbeat.observed_revision,
            skew_since: None,
            skew_seconds: 0,
        };
        presence.note_skew(heartbeat, now);
        presence
    }

    /// Takes in a further heartbeat.
    pub(crate) fn update(&mut self, heartbeat: &Heartbeat, now: Timestamp) -> Sequence {
        self.last_seen_at = now;
        let sequence = if self.run_id == heartbeat.run_id {
            let last = std::mem::replace(&mut self.sequence, heartbeat.sequence);
            if heartbeat.sequence < last {
                // The next one of this run shows a gap, and its full status is asked for.
                return Sequence::Stale;
            }
            let gap = heartbeat.sequence > last.saturating_add(1);
            if gap { Sequence::Gap } else { Sequence::Next }
        } else if self.previous_run_id.as_ref() == Some(&heartbeat.run_id) {
            self.run_returns = self.run_returns.saturating_add(1);
            return if self.run_returns >= CLONE_RETURNS {
                Sequence::CloneSuspected
            } else {
                Sequence::Stale
            };
        } else {
            let earlier = std::mem::replace(&mut self.run_id, heartbeat.run_id.clone());
            self.previous_run_id = Some(earlier);
            self.run_returns = 0;
            self.sequence = heartbeat.sequence;
            Sequence::Gap
        };
        self.goodbye = heartbeat.goodbye;
        self.observed = heartbeat.observed_revision;
        self.note_skew(heartbeat, now);
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
