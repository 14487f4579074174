//! The BaseOS agent.
#![forbid(unsafe_code)]
pub mod adapters;
pub mod config;
pub mod failpoint;
pub mod cli;
pub mod lifecycle;
pub mod runtime;
pub mod telemetry;
