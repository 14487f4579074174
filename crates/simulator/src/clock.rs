//! The one reader of clocks in this crate; the model itself is told the time.

use std::time::{Duration, Instant};

/// A clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts one.
    pub fn start() -> Self {
        Self(instant())
    }

    /// The time since its start.
    pub fn now(&self) -> Duration {
        instant().duration_since(self.0)
    }
}

/// Milliseconds since 1970, for `createdAt`.
pub fn unix_millis() -> i64 {
    wall().as_millisecond()
}

/// Waits.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands for the world: it makes others wait"
)]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the clock in the simulator"
)]
fn instant() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock in the simulator"
)]
fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
