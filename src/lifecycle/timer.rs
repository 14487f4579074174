//! Timers are data: a closed enum and a table of deadlines. The runtime owns the one sleep.

use crate::lifecycle::time::Millis;
use serde::{Deserialize, Serialize};

/// Everything the machine ever waits for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Registering: the next try.
    Register,
    /// Enrolled: the next heartbeat.
    Heartbeat,
    /// Any state: a lock's lease ends.
    Lease,
    /// Updating: a call to the Supervisor is due again.
    Retry,
    /// Waiting: a reason to wait may have passed.
    Recheck,
    /// Applying, Verifying, RollbackNeeded: the phase has taken too long.
    Deadline,
    /// Verifying, RollbackNeeded: it has been healthy for long enough, if a last look says so.
    Health,
    /// Enrolled: a release that was superseded after its hand-over is to be judged again.
    Watch,
    /// Enrolled: a service that has stopped may be healed, or has run long enough to count as well.
    Heal,
    /// Any state: the goodbye has taken too long.
    Goodbye,
}

impl Timer {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::Heartbeat,
        Self::Lease,
        Self::Retry,
        Self::Recheck,
        Self::Deadline,
        Self::Health,
        Self::Watch,
        Self::Heal,
        Self::Goodbye,
    ];

    /// The name of the event it becomes.
    pub const fn elapsed_name(self) -> &'static str {
        match self {
            Self::Register => "registerDue",
            Self::Heartbeat => "heartbeatDue",
            Self::Lease => "leaseEnded",
            Self::Retry => "retryDue",
            Self::Recheck => "recheckDue",
            Self::Deadline => "deadlinePassed",
            Self::Health => "healthDue",
            Self::Watch => "watchDue",
            Self::Heal => "healDue",
            Self::Goodbye => "goodbyeOverdue",
        }
    }
}

/// One deadline per timer. Arming again replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers([Option<Millis>; Timer::ALL.len()]);

impl Timers {
    /// Sets the deadline of `timer`.
    pub fn arm(&mut self, timer: Timer, at: Millis) {
        self.0[timer as usize] = Some(at);
    }

    /// Forgets the deadline of `timer`.
    pub fn disarm(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// The deadline of `timer`, if it is armed.
    pub fn get(&self, timer: Timer) -> Option<Millis> {
        self.0[timer as usize]
    }

    /// The earliest deadline; of equal ones the first in [`Timer::ALL`].
    pub fn next(&self) -> Option<(Timer, Millis)> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| Some((timer, self.get(timer)?)))
            .min_by_key(|(_, at)| *at)
    }

    /// Forgets the deadlines of all of these.
    pub fn disarm_all(&mut self, timers: &[Timer]) {
        for timer in timers {
            self.disarm(*timer);
        }
    }

    /// Those that are armed.
    pub fn armed(&self) -> impl Iterator<Item = Timer> + '_ {
        Timer::ALL.into_iter().filter(|timer| self.get(*timer).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_comes_first_and_arming_again_replaces_it() {
        let mut timers = Timers::default();
        timers.arm(Timer::Heartbeat, Millis(20));
        timers.arm(Timer::Deadline, Millis(10));
        assert_eq!(timers.next(), Some((Timer::Deadline, Millis(10))));
        timers.arm(Timer::Deadline, Millis(30));
        assert_eq!(timers.next(), Some((Timer::Heartbeat, Millis(20))));
        timers.disarm(Timer::Heartbeat);
        timers.disarm(Timer::Deadline);
        assert_eq!(timers.next(), None);
    }
}
