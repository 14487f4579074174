//! Sizes and paces both sides agree on (contract §1, §3, §4, §6).

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize as _, Deserializer};

/// The protocol this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// Largest `register` request body, bytes.
pub const REGISTER_MAX_BYTES: usize = 32 * 1024;
/// Largest `heartbeat` request body, bytes.
pub const HEARTBEAT_MAX_BYTES: usize = 64 * 1024;
/// Largest answer an agent reads, bytes; it stops reading past it.
pub const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Largest body on the local API, bytes.
pub const LOCAL_MAX_BYTES: usize = 64 * 1024;
/// At most one heartbeat in this time unless Cloudly says otherwise, seconds.
pub const MIN_HEARTBEAT_SECONDS: u32 = 10;
/// Longest back-off between tries, seconds.
pub const BACKOFF_CAP_SECONDS: u32 = 900;
/// Longest `Retry-After` that is believed, seconds.
pub const RETRY_AFTER_CAP_SECONDS: u32 = 3600;
/// Longest a lock lives without renewal, seconds.
pub const LEASE_MAX_SECONDS: u32 = 3600;
/// A clock further off than this is reported as `clockSkew`, seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 300;

/// The path of the registration endpoint.
pub const REGISTER_PATH: &str = "/baseos/v1/nodes/register";
/// The path of the heartbeat endpoint.
pub const HEARTBEAT_PATH: &str = "/baseos/v1/nodes/heartbeat";

/// Platforms of one image.
pub const PLATFORMS_MAX: usize = 32;

/// The largest number: JavaScript cannot count further.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Reads a number up to [`NUMBER_MAX`].
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > NUMBER_MAX {
        let given = Unexpected::Unsigned(number);
        return Err(D::Error::invalid_value(given, &"a number below 2^53"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent and a Cloudly of different versions meet.
    #[test]
    fn the_sizes_are_those_of_the_contract() {
        const KIB: usize = 1024;
        assert_eq!(REGISTER_MAX_BYTES / KIB, 32);
        assert_eq!(HEARTBEAT_MAX_BYTES / KIB, 64);
        assert_eq!(ANSWER_MAX_BYTES / KIB, 1024);
        assert_eq!(LOCAL_MAX_BYTES / KIB, 64);
        assert_eq!(NUMBER_MAX, 9_007_199_254_740_991);
    }
}
