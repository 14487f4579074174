//! The release rules as a whole: generated releases, good and broken, and the Supervisor's own recorded answers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests"
)]

mod breakages;
mod generated;
mod recorded;
mod releases;
