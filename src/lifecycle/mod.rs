//! THE MACHINE. Facts come in as events, it decides, effects go out. No clock, no IO, no async, no randomness,
//! no secrets: the same checkpoint and the same journal give the same effects.

pub mod backoff;
pub mod effect;
pub mod event;
pub mod facts;
pub mod target;
pub mod time;
pub mod timer;
