//! Node tokens, of which only hashes are stored. A node has up to two: `current` and `next` (contract §2).

use super::columns::unsigned;
use super::database::{Connection, Result};
use super::nodes::{Lifecycle, parse_approval};
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::UpdateState;
use sqlx::Row as _;

/// A node token and what a heartbeat needs to know of the node it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct NodeSession {
    pub(crate) token_mac: String,
    pub(crate) token_id: String,
    pub(crate) token_is_next: bool,
    /// The `rotateToken` command the token was issued for.
    pub(crate) token_command: Option<String>,
    pub(crate) token_used: bool,
    pub(crate) node_id: String,
    pub(crate) approval: Approval,
    pub(crate) approval_decided: bool,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clone_suspected: bool,
    pub(crate) desired_floor: u64,
    pub(crate) status_hash: Option<String>,
    pub(crate) update_state: UpdateState,
    pub(crate) target_commit: Option<String>,
    pub(crate) running_commit: Option<String>,
}

/// Finds a session by the token's public id.
pub(crate) async fn session(c: &mut Connection, token_id: &str) -> Result<Option<NodeSession>> {
    let row = sqlx::query(
        "SELECT t.mac, t.slot, t.command_id, t.first_used_at, n.id, n.approval, n.approval_decided_at, n.lifecycle,
             n.clone_suspected_at, n.desired_floor, s.status_hash, s.update_state, s.target_commit, s.running_commit
         FROM node_tokens t JOIN nodes n ON n.id = t.node_id LEFT JOIN node_status s ON s.node_id = n.id
         WHERE t.id = $1",
    )
    .bind(token_id)
    .fetch_optional(c)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state: Option<&str> = row.try_get("update_state")?;
    Ok(Some(NodeSession {
        token_mac: row.try_get("mac")?,
        token_id: token_id.to_owned(),
        token_is_next: row.try_get::<&str, _>("slot")? == "next",
        token_command: row.try_get("command_id")?,
        token_used: row.try_get::<Option<i64>, _>("first_used_at")?.is_some(),
        node_id: row.try_get("id")?,
        approval: parse_approval(row.try_get("approval")?),
        approval_decided: row.try_get::<Option<i64>, _>("approval_decided_at")?.is_some(),
        lifecycle: Lifecycle::parse(row.try_get("lifecycle")?),
        clone_suspected: row.try_get::<Option<i64>, _>("clone_suspected_at")?.is_some(),
        desired_floor: unsigned(&row, "desired_floor")?,
        status_hash: row.try_get("status_hash")?,
        update_state: state
            .and_then(|state| serde_json::from_value(serde_json::Value::from(state)).ok())
            .unwrap_or_default(),
        target_commit: row.try_get("target_commit")?,
        running_commit: row.try_get("running_commit")?,
    }))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) id: &'a str,
    pub(crate) mac: &'a str,
    /// The `rotateToken` command the token is issued for.
    pub(crate) command: Option<&'a str>,
}

/// Inserts a token: the first one as `current`, a later one as `next`. The `next` before it is deleted; but when
/// `current` was never used either, it becomes `current`, since the answer with it may have been lost.
pub(crate) async fn insert(
    c: &mut Connection,
    node: &str,
    token: NewToken<'_>,
    now: Timestamp,
) -> Result<()> {
    let current: Option<Option<i64>> =
        sqlx::query_scalar("SELECT first_used_at FROM node_tokens WHERE node_id = $1 AND slot = 'current'")
            .bind(node)
            .fetch_optional(&mut *c)
            .await?;
    let has_next = sqlx::query("SELECT 1 FROM node_tokens WHERE node_id = $1 AND slot = 'next'")
        .bind(node)
        .fetch_optional(&mut *c)
        .await?
        .is_some();
    match current {
        Some(None) if has_next => promote(c, node).await?,
        Some(_) if has_next => {
            sqlx::query("DELETE FROM node_tokens WHERE node_id = $1 AND slot = 'next'")
                .bind(node)
                .execute(&mut *c)
                .await?;
        }
        _ => {}
    }
    sqlx::query(
        "INSERT INTO node_tokens (id, mac, node_id, slot, issued_at, command_id) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.id)
    .bind(token.mac)
    .bind(node)
    .bind(if current.is_some() { "next" } else { "current" })
    .bind(millis(now))
    .bind(token.command)
    .execute(c)
    .await?;
    Ok(())
}

pub(crate) async fn exists(c: &mut Connection, id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM node_tokens WHERE id = $1")
        .bind(id)
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}

/// Notes a token's first use. The first use of `next` makes it `current` and deletes the old one. `false`: the token
/// was deleted after the session was loaded.
pub(crate) async fn note_use(c: &mut Connection, session: &NodeSession, now: Timestamp) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE node_tokens SET first_used_at = COALESCE(first_used_at, $2) WHERE id = $1 RETURNING slot",
    )
    .bind(&session.token_id)
    .bind(millis(now))
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = done else { return Ok(false) };
    if row.try_get::<&str, _>(0)? == "next" {
        promote(c, &session.node_id).await?;
    }
    Ok(true)
}

async fn promote(c: &mut Connection, node: &str) -> Result<()> {
    sqlx::query("DELETE FROM node_tokens WHERE node_id = $1 AND slot = 'current'")
        .bind(node)
        .execute(&mut *c)
        .await?;
    sqlx::query("UPDATE node_tokens SET slot = 'current' WHERE node_id = $1 AND slot = 'next'")
        .bind(node)
        .execute(c)
        .await?;
    Ok(())
}
