//! Time as the machine knows it: an argument.

use baseos_interfaces::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Add;
use std::time::Duration;

/// Milliseconds on the boot-time clock (`CLOCK_BOOTTIME`): it counts through suspend, never jumps, and starts
/// anew with each boot. Every deadline is measured on it, so a wrong wall clock moves nothing.
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
    pub boot: Millis,
    /// The device's wall clock. It may be wrong by years: good for reports, never for a decision.
    pub wall: Timestamp,
    /// Randomness for jitter; drawn by the runtime and journalled, so that replay is exact.
    pub entropy: u64,
}

impl Stamp {
    /// What the device's wall clock says at a moment of the boot-time clock; for people.
    pub(crate) fn wall_at(self, at: Millis) -> Option<Timestamp> {
        let ahead = i64::try_from(at.0).ok()? - i64::try_from(self.boot.0).ok()?;
        Timestamp::from_millisecond(self.wall.as_millisecond().checked_add(ahead)?).ok()
    }
}

/// A moment on both clocks: the first decides, the second is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub boot: Millis,
    pub wall: Timestamp,
}

impl From<Stamp> for Moment {
    fn from(now: Stamp) -> Self {
        Self {
            boot: now.boot,
            wall: now.wall,
        }
    }
}

/// A new boot of the device: its boot-time clock has started anew since the checkpoint was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reboot {
    /// What the boot-time clock said when the checkpoint was written.
    pub(crate) saved: Millis,
    pub(crate) now: Stamp,
}

impl Reboot {
    /// A deadline of the earlier boot on the new boot's clock: it keeps the time it had left.
    pub(crate) fn carry(self, deadline: Millis) -> Millis {
        self.now.boot + deadline.since(self.saved)
    }
}
