//! The database. Each file holds the statements of one noun, in SQL that PostgreSQL understands too; what is SQLite's
//! alone stands in `database.rs` and in `migrations/sqlite`.

pub(crate) mod audit;
mod columns;
pub(crate) mod commands;
pub(crate) mod database;
pub(crate) mod events;
pub(crate) mod join_token_uses;
pub(crate) mod join_tokens;
pub(crate) mod node_status;
pub(crate) mod node_tokens;
pub(crate) mod nodes;
pub(crate) mod presence;
pub(crate) mod releases;
pub(crate) mod targets;
