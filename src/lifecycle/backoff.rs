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

/// Tries to bring a service back.
pub const HEAL: Backoff = Backoff {
    base: Duration::from_secs(30),
    cap: Duration::from_secs(1800),
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

/// The delay before the next call to Cloudly: what it asked for or the back-off, the longer of both. What it asked for is
/// spread by up to a quarter more: it may have asked a whole fleet for the same.
pub fn after(retry_after_seconds: Option<u32>, failures: u32, entropy: u64) -> Duration {
    let own = CLOUDLY.delay(failures, entropy);
    let asked = Duration::from_secs(retry_after_seconds.unwrap_or(0).into());
    let spread = entropy.rotate_left(32) % (millis(asked) / 4 + 1);
    own.max(asked + Duration::from_millis(spread))
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
            for backoff in [CLOUDLY, SUPERVISOR, ATTEMPT, HEAL] {
                let delay = backoff.delay(failures, entropy);
                prop_assert!(delay >= backoff.base && delay <= backoff.cap);
            }
        }

        #[test]
        fn a_retry_after_is_followed_and_never_makes_a_hot_loop(seconds: Option<u32>, failures: u32, entropy: u64) {
            let delay = after(seconds, failures, entropy);
            let asked = Duration::from_secs(seconds.unwrap_or(0).into());
            prop_assert!(delay >= asked.max(CLOUDLY.base));
            prop_assert!(delay <= (asked * 5 / 4).max(CLOUDLY.cap));
        }

        #[test]
        fn after_many_failures_a_short_retry_after_does_not_shorten_the_back_off(entropy: u64) {
            prop_assert_eq!(after(Some(1), 20, entropy), CLOUDLY.delay(20, entropy).max(after(Some(1), 0, entropy)));
        }

        #[test]
        fn nodes_that_were_asked_for_the_same_do_not_come_together(entropy: u64) {
            let others = (1..=20).map(|step: u64| after(Some(600), 0, entropy ^ (step << 32)));
            let differ = others.filter(|delay| *delay != after(Some(600), 0, entropy)).count();
            prop_assert!(differ >= 19);
        }

        #[test]
        fn jitter_stays_within_a_fifth(seconds in 1u64..100_000, entropy: u64) {
            let interval = Duration::from_secs(seconds);
            let spread = jittered(interval, entropy);
            prop_assert!(spread >= interval * 4 / 5 && spread <= interval * 6 / 5);
        }
    }
}
