//! When this program was built.

use baseos_interfaces::Timestamp;

/// For builds that do not say: 2026-01-01, before any of them.
const FALLBACK: i64 = 1_767_225_600;

/// `SOURCE_DATE_EPOCH` of the build (tests/packaging/build-static sets it to the time of the commit), so that the same
/// source gives the same program.
pub fn built_at() -> Timestamp {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok());
    Timestamp::from_second(seconds.unwrap_or(FALLBACK)).unwrap_or(Timestamp::UNIX_EPOCH)
}
