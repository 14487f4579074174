//! The only reader of clocks and the only source of jitter.

use crate::lifecycle::time::{Millis, Stamp};
use baseos_interfaces::Timestamp;

/// The source of the time that is passed on as an argument.
pub trait Clock: Send {
    /// Both clocks now, and one random number.
    fn stamp(&mut self) -> Stamp;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    jitter: fastrand::Rng,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            jitter: fastrand::Rng::new(),
        }
    }
}

impl Clock for SystemClock {
    fn stamp(&mut self) -> Stamp {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let millis = u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
        Stamp {
            boot: Millis(seconds * 1000 + millis),
            wall: wall(),
            entropy: self.jitter.u64(..),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one clock; everything else gets the time as an argument"
)]
fn wall() -> Timestamp {
    // Milliseconds suffice; more digits would only lengthen every message.
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Tokio's clock, for tests that pause and advance it; jitter is seeded.
#[derive(Debug)]
pub struct PausedClock {
    start: tokio::time::Instant,
    wall: Timestamp,
    jitter: fastrand::Rng,
}

impl PausedClock {
    /// Starts at boot time zero.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's clock; under `start_paused` this reads virtual time"
    )]
    pub fn new(wall: Timestamp, seed: u64) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wall,
            jitter: fastrand::Rng::with_seed(seed),
        }
    }

    /// Boot time zero.
    pub(super) fn start(&self) -> tokio::time::Instant {
        self.start
    }
}

impl Clock for PausedClock {
    fn stamp(&mut self) -> Stamp {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ahead = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let wall = self.wall.as_millisecond().saturating_add(ahead);
        Stamp {
            boot: Millis(elapsed),
            wall: Timestamp::from_millisecond(wall).unwrap_or(self.wall),
            entropy: self.jitter.u64(..),
        }
    }
}
