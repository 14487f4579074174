//! The lifecycle machine: facts come in as events, it decides, effects go out. No clock, no IO, no async, no
//! randomness, no secrets: the same checkpoint and the same journal give the same effects.
//!
//! `machine` is the roof: [`Machine::resume`], [`Machine::step`], [`Machine::next_timer`]. `states` holds one file a
//! state and the tables that wire them. The modules beside it hold what the states do: `update` (what to apply, when,
//! and whether it runs), `progress` (what the Supervisor says of its work), `healing` (services that stop after
//! success), `cloudly` (the conversation with Cloudly), `supervisor_target` (the only maker of a local target), `locks`
//! and `report`. `shared` and `durable` are the data that all states share.

pub mod backoff;
pub mod checkpoint;
mod cloudly;
mod context;
mod durable;
pub mod effect;
pub mod event;
pub mod facts;
pub mod guard;
mod healing;
mod in_flight;
mod locks;
pub mod machine;
pub mod migrate;
pub mod progress;
pub mod recovery;
mod report;
mod settings_check;
mod shared;
mod signal;
mod states;
mod step_end;
pub mod supervisor_target;
pub mod time;
pub mod timer;
pub mod transition;
mod unsaved;
mod update;

pub use checkpoint::Checkpoint;
pub use effect::Effect;
pub use event::Event;
pub use machine::{Machine, Step};
pub use settings_check::SettingsCheck;
pub use transition::Transition;

#[cfg(test)]
mod tests;
