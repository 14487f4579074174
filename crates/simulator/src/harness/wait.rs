//! Waiting for something, with a limit and a useful message.

use super::{Error, Result};
use crate::clock::{Clock, sleep};
use std::time::Duration;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until there is something, at most so long.
///
/// # Errors
/// When the time is over: what was waited for, and what was there instead at the last look.
pub async fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let clock = Clock::start();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(instead) if clock.now() >= timeout => {
                return Err(Error::new(format!(
                    "{what}: not after {} s; instead: {instead}",
                    timeout.as_secs_f32()
                )));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}
