//! A Supervisor that behaves as the recordings do, a device around it, and what whole-program tests need.
//!
//! [`supervisor::Supervisor`] is the model: synchronous, deterministic, told the time. [`device::Device`] drives it
//! with real time, serves its API over HTTP, and runs the agent as a real process inside a device's directories.
//! [`harness`] starts the other programs and looks at them from outside.
#![forbid(unsafe_code)]

pub mod clock;
pub mod device;
pub mod harness;
pub mod json;
pub mod supervisor;
