//! What tests of whole programs and the demo need: the other programs, and their state as seen from outside.
//!
//! ```no_run
//! # async fn example() -> Result<(), baseos_simulator::harness::Error> {
//! use baseos_simulator::harness::{Programs, TestRelease, Testbed, TestbedOptions};
//! use std::time::Duration;
//!
//! let programs = Programs::beside("target/debug/baserunner")?;
//! let testbed = Testbed::start(TestbedOptions::new(programs)).await?;
//! testbed.publish(&TestRelease::new("b2b2b2b2", "2.0.0", "onebox:2")).await?;
//! testbed.set_desired(Some("b2b2b2b2"), testbed.quick_policy()).await?;
//! testbed.wait_node("2.0.0 runs", Duration::from_secs(30), |node| {
//!     node.status.as_ref().is_some_and(|status| status.running() == Some("b2b2b2b2"))
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```

mod cases;
mod cloudly;
mod error;
mod http;
mod local_api;
mod programs;
mod release;
mod slots;
mod state_file;
mod testbed;
mod wait;

pub use cases::run_cases;
pub use cloudly::{Cloudly, CloudlyConfig};
pub use error::{Error, Result};
pub use http::{Address, Response, call};
pub use local_api::LocalApi;
pub use programs::Programs;
pub use release::{APP_ID, TestRelease};
pub use slots::{Slot, slot_for_agent};
pub use state_file::{read_state, stored_node_id};
pub use testbed::{Testbed, TestbedOptions};
pub use wait::{ensure, wait_until};
