//! Time as the machine knows it: an argument.

use baseos_interfaces::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Add;
use std::time::Duration;

/// Milliseconds on the boot-time clock (`CLOCK_BOOTTIME`): it counts through suspend, never jumps, and starts
/// anew with each boot. Every deadline is measured on it, so a lying wall clock moves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The time from `earlier` to `self`; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Millis {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// What the clocks said, and one draw of randomness, when an event was taken off the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The boot-time clock.
    pub boot: Millis,
    /// The device's wall clock. It may lie by years: good for reports, never for a decision.
    pub wall: Timestamp,
    /// Randomness for jitter; drawn by the runtime and journalled, so that replay is exact.
    pub entropy: u64,
}
