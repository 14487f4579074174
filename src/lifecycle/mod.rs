//! THE MACHINE. Facts come in as events, it decides, effects go out. No clock, no IO, no async, no randomness,
//! no secrets: the same checkpoint and the same journal give the same effects.

pub mod application;
pub mod backoff;
pub mod beats;
pub mod book;
pub mod checkpoint;
pub mod commands;
pub mod context;
pub mod doctor;
pub mod effect;
pub mod event;
pub mod facts;
pub mod health;
pub mod leases;
pub mod lock_files;
pub mod machine;
pub mod policy;
pub mod ports;
pub mod report;
pub mod states;
pub mod target;
pub mod time;
pub mod timer;
pub mod unsaved;
pub mod update;
pub mod verdict;
pub mod vigil;

pub use checkpoint::Checkpoint;
pub use effect::Effect;
pub use event::Event;
pub use machine::{Machine, Step};
