//! The BaseOS agent.
#![forbid(unsafe_code)]
pub mod adapters;
pub mod lifecycle;
