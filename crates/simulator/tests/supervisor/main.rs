//! The simulated Supervisor in virtual time: against the recordings of the real one, and on its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod compare;
mod playback;
mod recording;
mod recordings;
mod summaries;
mod system_log;
mod unrecorded;
mod virtual_supervisor;
