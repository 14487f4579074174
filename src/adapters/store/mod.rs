//! The agent's state on disk: one file, `state.json`, with its credentials, Cloudly's endpoint, and the machine's
//! checkpoint.
//!
//! - After a save returned `Ok`, the document is on disk. After a failed one, an older document is on disk and the
//!   newest in memory, so the next successful save writes everything.
//! - At every instant there is a complete document in `state.json` or `state.json.previous`. If the newest file is
//!   damaged, the previous one is used, and the agent reports it.
//! - A 64 KiB file, `reserve`, is deleted when the disk is full, so that the state can still be written. It is refilled
//!   as soon as there is space.
//!
//! All calls block. They are made from the async runtime on purpose: the files are small, and no effect may be
//! dispatched before they are on disk anyway.

mod dir_lock;
mod disk;
mod document;
mod guard_orders;
mod open;
mod state_file;
#[cfg(test)]
mod tests;
mod vault;

pub use guard_orders::GuardOrders;
pub use open::{OpenError, Opened};
pub use state_file::{SaveError, StateFile};
