//! The database: SQLite or PostgreSQL. Each file holds the statements of one noun, in SQL that both understand; what
//! differs stands in `engine.rs`, `sqlite.rs`, `postgres.rs` and in `migrations`.

pub(crate) mod audit;
mod columns;
mod commands;
mod connection;
pub(crate) mod database;
mod engine;
mod events;
mod group_commit;
mod guard;
pub(crate) mod heartbeats;
pub(crate) mod integrity;
mod join_token_uses;
pub(crate) mod join_tokens;
mod locks;
mod migrate;
mod node_lifecycle;
pub(crate) mod node_session;
mod node_status;
pub(crate) mod node_tokens;
pub(crate) mod nodes;
mod postgres;
mod presence;
pub(crate) mod registrations;
pub(crate) mod releases;
mod replaced_file;
pub(crate) mod replacements;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod revisions;
mod session_cache;
mod sessions;
pub(crate) mod snapshot;
mod sqlite;
pub(crate) mod tables;
pub(crate) mod targeted_nodes;
pub(crate) mod targets;
