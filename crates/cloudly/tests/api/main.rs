//! Cloudly over real HTTP: in this process with a clock that tests move, and as the real program. What concerns the database runs
//! on each engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests; many take json!(…)"
)]

#[allow(
    clippy::single_component_path_imports,
    reason = "its macros name the crate by that path"
)]
use rstest_reuse;

mod audit;
mod backup;
mod backup_documented;
mod backup_refusals;
mod bodies;
mod cli;
mod cli_address;
mod cli_decisions;
mod cli_desired;
mod cli_export;
mod cli_logs;
mod cli_nodes;
mod cli_refusals;
mod commands;
mod configured_token;
mod connections;
mod db_check;
mod durability;
mod first_slice;
mod full_disk;
mod heartbeats;
mod join_token_uses;
mod lists;
mod nodes;
mod overload;
mod postgres_connections;
mod postgres_start;
mod presence;
mod problems;
mod races;
mod real_registry;
mod refusals;
mod registration;
mod releases;
mod repetitions;
mod replacement;
mod restored_nodes;
mod retention;
mod secrets;
mod sessions;
mod sqlite_file;
mod start;
mod support;
mod target_changes;
mod target_force;
mod targets;
mod tls;

use rstest_reuse::template;

/// Runs a test once on each engine.
#[template]
#[rstest::rstest]
fn each_engine(#[values(Engine::Sqlite, Engine::Postgres)] engine: Engine) {}
