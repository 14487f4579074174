//! The only reader of clocks in this crate; time is an argument of the model.

use std::time::{Duration, Instant};

/// A clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(instant())
    }

    pub fn now(&self) -> Duration {
        instant().duration_since(self.0)
    }
}

/// Milliseconds since 1970, for `createdAt`.
pub fn unix_millis() -> i64 {
    wall().as_millisecond()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands for a device: how long things take is part of it"
)]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only reader of the clock in the simulator"
)]
fn instant() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only reader of the wall clock in the simulator"
)]
fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
