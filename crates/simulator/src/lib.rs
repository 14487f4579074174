//! A Supervisor that behaves as recorded, a device around it, and what tests of whole programs need.
//!
//! [`supervisor::Supervisor`] is the model: synchronous, deterministic, time is an argument. [`device::Device`] runs it
//! in real time, serves its API over HTTP, and runs the agent as a real process inside a device's directories.
//! [`harness`] starts the other programs and looks at them from outside.
#![forbid(unsafe_code)]

pub mod clock;
pub mod device;
pub mod harness;
pub mod json;
pub mod supervisor;
pub mod sync;
pub mod text;
