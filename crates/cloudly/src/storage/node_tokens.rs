//! Node tokens, of which only hashes are stored. A node has up to two: `current` and `next` (contract §2).

use super::audit::{self, AuditLine};
use super::columns::unsigned;
use super::database::{Connection, Result, Storage};
use super::nodes::{Lifecycle, parse_approval};
use super::{commands, join_token_uses, locks, nodes};
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::CommandResult;
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

/// What [`Storage::first_use`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstUse {
    Noted,
    /// The token was deleted after the session was loaded.
    TokenGone,
    /// The use of the join token behind it was given back and none is left.
    JoinTokenUseGone,
}

impl Storage {
    /// Finds a session by the token's public id.
    pub(crate) async fn session(&self, token_id: &str) -> Result<Option<NodeSession>> {
        session(&mut *self.read().await?, token_id).await
    }

    /// On the first use of a token, makes it the only one of its node, and confirms the use of the join token, or sets
    /// the result of the command, that it was issued for.
    pub(crate) async fn first_use(
        &self,
        session: &NodeSession,
        result: Option<CommandResult>,
        now: Timestamp,
        line: AuditLine,
    ) -> Result<FirstUse> {
        let node = session.node_id.as_str();
        let mut tx = self.write().await?;
        locks::join_tokens_of(&mut tx, node).await?;
        locks::node(&mut tx, node).await?;
        if !note_use(&mut tx, session, now).await? {
            tx.rollback().await?;
            return Ok(FirstUse::TokenGone);
        }
        match result {
            Some(result) => commands::set_result(&mut tx, node, &result, now).await?,
            None => {
                if !join_token_uses::confirm(&mut tx, node, now).await? {
                    tx.rollback().await?;
                    return Ok(FirstUse::JoinTokenUseGone);
                }
            }
        }
        nodes::confirm(&mut tx, node, now).await?;
        audit::append(&mut tx, now, &line).await?;
        tx.commit().await?;
        Ok(FirstUse::Noted)
    }

    /// Issues a token, unless the one that `pending` names is still the node's: then `false`. `issued` is called before
    /// other requests see the new one. Both are called while the node is locked.
    pub(crate) async fn issue_token(
        &self,
        node: &str,
        token: NewToken<'_>,
        now: Timestamp,
        line: AuditLine,
        pending: impl FnOnce() -> Option<String>,
        issued: impl FnOnce(),
    ) -> Result<bool> {
        let mut tx = self.write().await?;
        locks::node(&mut tx, node).await?;
        if let Some(pending) = pending()
            && exists(&mut tx, &pending).await?
        {
            tx.rollback().await?;
            return Ok(false);
        }
        insert(&mut tx, node, token, now).await?;
        audit::append(&mut tx, now, &line).await?;
        issued();
        tx.commit().await?;
        Ok(true)
    }
}

async fn session(c: &mut Connection, token_id: &str) -> Result<Option<NodeSession>> {
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
pub(super) async fn insert(
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

async fn exists(c: &mut Connection, id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM node_tokens WHERE id = $1")
        .bind(id)
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}

/// Notes a token's first use. The first use of `next` makes it `current` and deletes the old one. `false`: the token
/// was deleted after the session was loaded.
async fn note_use(c: &mut Connection, session: &NodeSession, now: Timestamp) -> Result<bool> {
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
