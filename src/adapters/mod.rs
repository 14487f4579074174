//! One folder a neighbour. An adapter performs an effect once and reports the result as an event; it never
//! retries, never waits on its own account and never decides.
//!
//! Every port is a task of the same shape: `serve(self, mailbox, events)`, where `mailbox` brings effects and
//! `events` takes results. It ends when the mailbox closes.

pub mod cloudly;
#[cfg(test)]
mod fake;
pub mod host;
pub mod local_api;
pub mod lock_files;
mod redact;
pub mod store;
pub mod supervisor;
