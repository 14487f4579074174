//! What a transaction locks before it decides by what it reads. SQLite has one writer, so nothing is to be done; under
//! PostgreSQL's READ COMMITTED a decision holds only while the row that stands for its subject is locked: of two
//! transactions with the same subject the second one waits, and reads what the first one has committed.
//!
//! The order, so that no two transactions wait for each other: releases, join tokens by id, nodes, and the counter of
//! revisions.

use super::connection::{Connection, Result};
use super::engine::Engine;

/// Locks a join token with its uses.
pub(crate) async fn join_token(c: &mut Connection, id: &str) -> Result<()> {
    let statement = "SELECT 1 FROM join_tokens WHERE id = $1 FOR UPDATE";
    Engine::only_postgres(c, statement, Some(id)).await
}

/// Locks the join tokens whose uses the first heartbeat of a node, or of a replacement, would confirm.
pub(crate) async fn join_tokens_of(c: &mut Connection, holder: &str) -> Result<()> {
    let statement = "SELECT 1 FROM join_tokens
         WHERE id IN (SELECT token_id FROM join_uses WHERE node_id = $1 AND confirmed_at IS NULL)
         ORDER BY id FOR UPDATE";
    Engine::only_postgres(c, statement, Some(holder)).await
}

/// Locks the join tokens with uses that were taken until then and are neither confirmed nor given back.
pub(crate) async fn join_tokens_overdue(c: &mut Connection, taken_until: i64) -> Result<()> {
    let statement = "SELECT 1 FROM join_tokens
         WHERE id IN (SELECT token_id FROM join_uses
             WHERE confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $1::text::bigint)
         ORDER BY id FOR UPDATE";
    Engine::only_postgres(c, statement, Some(&taken_until.to_string())).await
}

/// Locks a node with its replacements, tokens, status, events, commands and target.
pub(crate) async fn node(c: &mut Connection, id: &str) -> Result<()> {
    let statement = "SELECT 1 FROM nodes WHERE id = $1 FOR UPDATE";
    Engine::only_postgres(c, statement, Some(id)).await
}

/// Locks the targets, of all nodes and of each, with the counter of their revisions.
pub(crate) async fn revisions(c: &mut Connection) -> Result<()> {
    let statement = "SELECT 1 FROM counters WHERE name = 'desired' FOR UPDATE";
    Engine::only_postgres(c, statement, None).await
}

/// Locks the releases against new ones.
pub(crate) async fn releases(c: &mut Connection) -> Result<()> {
    Engine::only_postgres(c, "LOCK TABLE releases IN SHARE ROW EXCLUSIVE MODE", None).await
}
