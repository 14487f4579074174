//! Whole programs: the real agent and the real Cloudly with a simulated Supervisor.
//!
//! Cloudly has to be built before: `cargo build --workspace --bins`. The tests in [`kills`] need an agent with fail points:
//! without `--features failpoints` they fail at once and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in helpers too"
)]

mod clones;
mod consistency;
mod crash_loop;
mod desired;
mod fixture;
mod guard;
mod guard_program;
mod healing;
mod host;
mod images;
mod kills;
mod lost_writes;
mod managed_supervisor;
mod outages;
mod progress;
mod replacement;
mod restarts;
mod restored;
mod rotation;
mod soak;
mod state_disk;
mod target_posts;
mod updates;
mod users;
mod wrapper_script;
