//! What whole-program tests and the demo need: the other programs, and looks at them from outside.
//!
//! ```no_run
//! # async fn example() -> Result<(), baseos_simulator::harness::Error> {
//! use baseos_simulator::harness::{Programs, Stage, StageOptions, Version};
//! use std::time::Duration;
//!
//! let programs = Programs::beside("target/debug/baserunner")?;
//! let stage = Stage::start(StageOptions::new(programs)).await?;
//! let v2 = Version::new("b2b2b2b2", "2.0.0", "onebox:2");
//! stage.publish(&v2).await?;
//! stage.desire(Some("b2b2b2b2"), stage.quick_policy()).await?;
//! stage.wait_node("v2 runs", Duration::from_secs(30), |node| {
//!     node.status.as_ref().is_some_and(|status| status.release.running.as_deref() == Some("b2b2b2b2"))
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```

mod agent;
mod cloudly;
mod http;
mod release;
mod stage;
mod wait;

pub use agent::{Agent, read_state};
pub use cloudly::{Cloudly, CloudlyConfig};
pub use http::{Address, Response, call};
pub use release::{APP_ID, Version};
pub use stage::{Programs, Stage, StageOptions};
pub use wait::wait_until;

/// What went wrong, in words. Its `Debug` is those words too, so that `unwrap` in a test shows them as they are.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    /// An error of the caller's own, in words.
    pub fn because(text: impl Into<String>) -> Self {
        Self::new(text)
    }

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// [`Error`]'s.
pub type Result<T> = std::result::Result<T, Error>;
