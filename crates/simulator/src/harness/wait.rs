//! Waiting with a limit and a useful message.

use crate::clock::{Clock, sleep};
use crate::harness::error::{Error, Result};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(50);

/// Calls `look` until it finds something.
///
/// # Errors
/// When that took longer than the limit: what was expected, and what `look` found instead at last.
pub async fn wait_until<T>(
    expected: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let clock = Clock::start();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(instead) if clock.now() >= limit => {
                return Err(Error::new(format!(
                    "{expected}: not within {} s; instead: {instead}",
                    limit.as_secs_f32()
                )));
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}

/// For [`wait_until`]: the error is what there is instead.
///
/// # Errors
/// When the condition is false.
pub fn ensure(condition: bool, instead: impl FnOnce() -> String) -> std::result::Result<(), String> {
    condition.then_some(()).ok_or_else(instead)
}
