//! baserunner, the BaseOS agent: it enrols a device in Cloudly, keeps in touch with it, and applies releases
//! through the local Supervisor.
//!
//! One turn of its loop:
//!
//! ```text
//! sources ──► bus ──► drive: stamp, journal ──► machine.step(event, now)
//!   ▲                                              │
//!   │                                              ▼
//!   │                              Step { effects, transitions, checkpoint }
//!   │                                              │
//!   └── adapters ◄── dispatch ◄── checkpoint written and fsynced
//! ```
//!
//! Facts come in as events ([`lifecycle::event`]), a pure machine decides ([`lifecycle::machine`]), effects go out
//! ([`lifecycle::effect`]), and their results come back as events. The machine has no clock, IO or secrets: the same
//! checkpoint and the same journal give the same effects. [`runtime`] drives it, [`adapters`] perform its effects,
//! [`agent`] wires them together.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod agent;
pub mod build_time;
pub mod cli;
pub mod config;
pub mod diagnose;
pub mod durable_file;
pub mod failpoint;
pub mod guard;
pub mod guard_program;
pub mod lifecycle;
pub mod program;
pub mod proxy;
pub mod random;
pub mod runtime;
pub mod telemetry;
pub mod vault;
