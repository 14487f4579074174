//! Cloudly over real HTTP: in this process with a clock that tests move, and as the real program. `tests/postgres` runs
//! what concerns the database on PostgreSQL too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests; many take json!(…)"
)]

mod audit;
mod bodies;
mod cli;
mod cli_logs;
mod cli_nodes;
mod cli_refusals;
mod commands;
mod configured_token;
mod connections;
mod durability;
mod first_slice;
mod full_disk;
mod heartbeats;
mod join_token_uses;
mod lists;
mod nodes;
mod overload;
mod presence;
mod problems;
mod races;
mod real_registry;
mod refusals;
mod registration;
mod releases;
mod replacement;
mod secrets;
mod sessions;
mod sqlite_file;
mod start;
#[allow(dead_code, reason = "each of the two targets uses a part of it")]
mod support;
mod targets;

/// What the servers store in.
const ENGINE: support::Engine = support::Engine::Sqlite;
