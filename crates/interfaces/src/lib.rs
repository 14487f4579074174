//! The BaseOS wire contract, version 1: what the agent, Cloudly and Onebox say to each other.
//!
//! Types and pure functions only; nothing here reads a clock, a file or a socket. Both sides and every test
//! use these types, so the contract has one implementation.
//!
//! Conventions (contract §1): camelCase JSON; times `…At` are RFC 3339 UTC; durations `…Seconds`; sizes
//! `…Bytes`; ratios `…Percent`. A missing member means *unknown or unchanged*, `null` means *known to be none*.
//! Unknown members are ignored and unknown enum values become `Unknown`, so either side may be newer.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod agent_variables;
mod blocker;
pub mod codes;
pub mod collect;
pub mod command;
pub mod desired;
pub mod hash;
pub mod heartbeat;
pub mod limits;
pub mod local;
pub mod members;
pub mod mismatch;
pub mod problem;
pub mod redact;
pub mod register;
pub mod registration;
pub mod rules;
pub mod running;
pub mod states;
pub mod status;
pub mod suggest;
pub mod terminal;
pub mod token;
pub mod window;

/// An instant in UTC; serialises as RFC 3339 with `Z`.
pub use jiff::Timestamp;
