//! The tests of `tests/api` that concern the database, on a PostgreSQL server of this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests; many take json!(…)"
)]

#[path = "../api/audit.rs"]
mod audit;
#[path = "../api/bodies.rs"]
mod bodies;
#[path = "../api/commands.rs"]
mod commands;
#[path = "../api/configured_token.rs"]
mod configured_token;
mod connections;
#[path = "../api/durability.rs"]
mod durability;
#[path = "../api/heartbeats.rs"]
mod heartbeats;
#[path = "../api/join_token_uses.rs"]
mod join_token_uses;
#[path = "../api/lists.rs"]
mod lists;
#[path = "../api/nodes.rs"]
mod nodes;
#[path = "../api/presence.rs"]
mod presence;
#[path = "../api/problems.rs"]
mod problems;
#[path = "../api/races.rs"]
mod races;
#[path = "../api/refusals.rs"]
mod refusals;
#[path = "../api/registration.rs"]
mod registration;
#[path = "../api/releases.rs"]
mod releases;
#[path = "../api/replacement.rs"]
mod replacement;
#[path = "../api/secrets.rs"]
mod secrets;
#[path = "../api/sessions.rs"]
mod sessions;
mod start;
#[allow(
    dead_code,
    unused_imports,
    reason = "each of the two targets uses a part of it"
)]
#[path = "../api/support/mod.rs"]
mod support;
#[path = "../api/targets.rs"]
mod targets;

/// What the servers store in.
const ENGINE: support::Engine = support::Engine::Postgres;
