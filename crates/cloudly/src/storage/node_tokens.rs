//! Node tokens, of which only hashes are stored. A node has up to two: `current` and `next` (contract §2).

use super::audit::{self, AuditLine};
use super::database::{Connection, Result, Storage};
use super::node_session::NodeSession;
use super::session_cache::Touched;
use super::{commands, join_token_uses, locks, nodes, replacements};
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::CommandResult;
use sqlx::Row as _;

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
    /// On the first use of a token, makes it the only one of its node, and confirms the use of the join token, or sets
    /// the result of the command, that it was issued for. A replacement takes effect.
    pub(crate) async fn first_use(
        &self,
        session: &NodeSession,
        result: Option<CommandResult>,
        now: Timestamp,
        line: AuditLine,
    ) -> Result<FirstUse> {
        let node = session.node_id.as_str();
        let holder = session.replacement.as_deref().unwrap_or(node);
        let mut tx = self.write(Touched::Node(node.to_owned())).await?;
        locks::join_tokens_of(&mut tx, holder).await?;
        locks::node(&mut tx, node).await?;
        if !note_use(&mut tx, session, now).await? {
            tx.rollback().await?;
            return Ok(FirstUse::TokenGone);
        }
        match result {
            Some(result) => commands::set_result(&mut tx, node, &result, now).await?,
            None => {
                let may = session.replacement.is_none()
                    || join_token_uses::may_replace(&mut tx, holder, now).await?;
                if !may || !join_token_uses::confirm(&mut tx, holder, now).await? {
                    tx.rollback().await?;
                    return Ok(FirstUse::JoinTokenUseGone);
                }
            }
        }
        if let Some(replacement) = &session.replacement
            && !replacements::take_effect(&mut tx, replacement).await?
        {
            // Another heartbeat of it was faster.
            tx.rollback().await?;
            return Ok(FirstUse::Noted);
        }
        nodes::confirm(&mut tx, node, now).await?;
        audit::append(&mut tx, now, &line).await?;
        tx.commit().await?;
        Ok(FirstUse::Noted)
    }

    /// Issues a token to who has this session, unless the one that `pending` names is still the node's: then `false`.
    /// `None`: the session's own token was deleted. `issued` is called before other requests see the new one. Both are
    /// called while the node is locked.
    pub(crate) async fn issue_token(
        &self,
        session: &NodeSession,
        token: NewToken<'_>,
        now: Timestamp,
        line: AuditLine,
        pending: impl FnOnce() -> Option<String>,
        issued: impl FnOnce(),
    ) -> Result<Option<bool>> {
        let node = session.node_id.as_str();
        let mut tx = self.write(Touched::Node(node.to_owned())).await?;
        locks::node(&mut tx, node).await?;
        if !exists(&mut tx, &session.token_id).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        if let Some(pending) = pending()
            && exists(&mut tx, &pending).await?
        {
            tx.rollback().await?;
            return Ok(Some(false));
        }
        insert(&mut tx, node, token, now).await?;
        audit::append(&mut tx, now, &line).await?;
        issued();
        tx.commit().await?;
        Ok(Some(true))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) id: &'a str,
    pub(crate) mac: &'a str,
    /// The `rotateToken` command the token is issued for.
    pub(crate) command: Option<&'a str>,
}

/// Inserts a token of a node or a replacement: the first one as `current`, a later one as `next`. The `next` before it is deleted; but when
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
        "UPDATE node_tokens SET first_used_at = COALESCE(first_used_at, $2) WHERE id = $1
         RETURNING slot, node_id",
    )
    .bind(&session.token_id)
    .bind(millis(now))
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = done else { return Ok(false) };
    if row.try_get::<&str, _>(0)? == "next" {
        promote(c, row.try_get(1)?).await?;
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
