//! The BaseOS agent.
#![forbid(unsafe_code)]
pub mod adapters;
pub mod config;
pub mod failpoint;
pub mod lifecycle;
