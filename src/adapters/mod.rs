//! One folder per external system. An adapter performs an effect once and reports the result as an event; it never
//! retries, never delays on its own and never decides.
//!
//! Every port is a task `serve(self, mailbox, events)`: `mailbox` delivers effects, `events` takes results. It ends
//! when the mailbox closes.

pub mod cloudly;
#[cfg(test)]
mod fake;
pub mod host;
mod http;
pub mod local_api;
pub mod lock_files;
mod redact;
pub mod store;
pub mod supervisor;
