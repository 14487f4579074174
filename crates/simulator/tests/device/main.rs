//! The device around the model: real HTTP, real processes, real lock files, faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod behaviour;
mod control_api;
mod faults;
mod fixture;
mod logs;
