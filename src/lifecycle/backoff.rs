//! Back-off: attempt → delay, pure. The randomness is an argument.

use std::time::Duration;

/// How a series of tries spreads out.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub base: Duration,
    pub cap: Duration,
}

/// Calls to Cloudly.
pub const CLOUDLY: Backoff = Backoff {
    base: Duration::from_secs(2),
    cap: Duration::from_secs(900),
};
/// Calls to the Supervisor, which is on the same device.
pub const SUPERVISOR: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};
/// Attempts at a release.
pub const ATTEMPT: Backoff = Backoff {
    base: Duration::from_secs(60),
    cap: Duration::from_secs(3600),
};

impl Backoff {
    /// The delay before try number `failures + 1`: uniform between `base` and three times the previous ceiling,
    /// capped. Decorrelated, so a fleet that fell silent together does not come back together.
    pub fn delay(self, failures: u32, entropy: u64) -> Duration {
        let base = millis(self.base);
        let ceiling = base
            .saturating_mul(3u64.saturating_pow(failures.min(20)))
            .clamp(base, millis(self.cap));
        Duration::from_millis(base + entropy % (ceiling - base + 1))
    }
}

/// The delay before the next call to Cloudly: what it asked for, else the back-off. Zero asks for nothing: a server
/// that is overloaded and says so would otherwise be called without a pause.
pub fn after(retry_after_seconds: Option<u32>, failures: u32, entropy: u64) -> Duration {
    match retry_after_seconds {
        None | Some(0) => CLOUDLY.delay(failures, entropy),
        Some(seconds) => Duration::from_secs(seconds.into()),
    }
}

/// Spreads `interval` by ±20 %.
pub fn jittered(interval: Duration, entropy: u64) -> Duration {
    let whole = millis(interval);
    let fifth = whole / 5;
    Duration::from_millis(whole - fifth + entropy % (2 * fifth + 1))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX / 8)
        .min(u64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_is_never_below_the_base_nor_above_the_cap(failures: u32, entropy: u64) {
            for backoff in [CLOUDLY, SUPERVISOR, ATTEMPT] {
                let delay = backoff.delay(failures, entropy);
                prop_assert!(delay >= backoff.base && delay <= backoff.cap);
            }
        }

        #[test]
        fn a_retry_after_is_followed_and_never_makes_a_hot_loop(seconds: Option<u32>, failures: u32, entropy: u64) {
            let delay = after(seconds, failures, entropy);
            prop_assert!(delay >= Duration::from_secs(1));
            if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
                prop_assert_eq!(delay, Duration::from_secs(seconds.into()));
            }
        }

        #[test]
        fn jitter_stays_within_a_fifth(seconds in 1u64..100_000, entropy: u64) {
            let interval = Duration::from_secs(seconds);
            let spread = jittered(interval, entropy);
            prop_assert!(spread >= interval * 4 / 5 && spread <= interval * 6 / 5);
        }
    }
}
