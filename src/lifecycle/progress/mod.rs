//! What the Supervisor says of its work: why it does not go on, and whether it does.
//!
//! A failed pull, a lock and a start that fails look alike in the Supervisor's state (`applying`, `update_failed`); its
//! log tells them apart (study of the real one, E3). [`tracker::Tracker`] keeps what both said, [`hindrance`] says what
//! is in the way at present, and [`stall`] what to make of an attempt that does not get on.

pub mod fact;
pub(crate) mod hindrance;
pub(crate) mod stall;
pub(crate) mod tracker;
