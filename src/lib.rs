//! The BaseOS agent.
#![forbid(unsafe_code)]
pub mod adapters;
pub mod cli;
pub mod lifecycle;
pub mod telemetry;
