//! Log lines on stderr, and metrics.
//!
//! Secrets are kept out of both by type: no value that is logged or counted has a member that holds one. The
//! redaction in the log's writer is the last line of defence, for a string that contains one all the same.

#[cfg(test)]
pub(crate) mod capture;
pub mod logs;
pub mod metrics;
pub mod redact;
