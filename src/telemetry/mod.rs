//! What the agent tells of itself: log lines on stderr, and metrics.
//!
//! Secrets are kept out of both by type: nothing that is logged or counted has a member that holds one. The
//! redaction here is the last line of defence behind that, for the day somebody logs a string that has one in it.

pub mod logs;
pub mod metrics;
pub mod redact;

mod text;
