//! What is deleted when it is old: what devices can cause any number of, and what of them is of no use any more. What
//! operators made is kept until they remove it, and what they did stands in the audit log for ever.
//!
//! A batch is one transaction, so that heartbeats go on between two of them.

use super::database::{Connection, Result, Storage};
use super::locks;
use super::session_cache::Touched;
use crate::clock::{after, millis};
use baseos_interfaces::Timestamp;
use std::collections::BTreeSet;

const DAY_SECONDS: i64 = 24 * 3600;

/// Events, after Cloudly received them.
const EVENT_DAYS: i64 = 90;
/// Events of a node: older ones are deleted as newer ones come.
const EVENTS_OF_A_NODE: i64 = 2_000;
/// Commands, after their result or their expiry.
const COMMAND_DAYS: i64 = 90;
/// Lines of the audit log that devices can cause any number of.
const ROUTINE_DAYS: i64 = 90;
const ROUTINE_LINES: i64 = 10_000;
/// Registrations that were never heard, after their use of the join token was given back.
const UNHEARD_DAYS: i64 = 30;
/// Join tokens, after they expired or were revoked.
const JOIN_TOKEN_DAYS: i64 = 90;
/// Nodes, after an operator removed them: until then a device that still calls is told that it was removed.
const REMOVED_DAYS: i64 = 90;

/// Rows a transaction.
const ROWS: i64 = 1_000;
/// Nodes a transaction, each with what belongs to it.
const NODES: i64 = 50;

/// How much was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) events: u64,
    pub(crate) commands: u64,
    pub(crate) audit_lines: u64,
    pub(crate) join_tokens: u64,
    /// Removed nodes, and nodes and replacements that were registered and never heard, by their ids.
    pub(crate) nodes: BTreeSet<String>,
}

impl Pruned {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Storage {
    /// Deletes what is due, at most a batch of each kind. What it returns is empty once nothing more is due.
    pub(crate) async fn prune(&self, now: Timestamp) -> Result<Pruned> {
        Ok(Pruned {
            events: self.prune_rows(OLD_EVENTS, &[ago(now, EVENT_DAYS)]).await?,
            commands: self.prune_rows(OLD_COMMANDS, &[ago(now, COMMAND_DAYS)]).await?,
            audit_lines: self
                .prune_rows(OLD_ROUTINE_LINES, &[ago(now, ROUTINE_DAYS), ROUTINE_LINES])
                .await?,
            nodes: self.prune_nodes(now).await?,
            // After the registrations that were never heard: they hold their join tokens.
            join_tokens: self.prune_join_tokens(now).await?,
        })
    }

    async fn prune_rows(&self, old: Old, arguments: &[i64]) -> Result<u64> {
        let bound = |statement| {
            let query = sqlx::query(statement);
            arguments
                .iter()
                .fold(query, |query, argument| query.bind(*argument))
        };
        // Read first: as a rule nothing is due, and SQLite has one connection that writes.
        let due = bound(old.find)
            .fetch_optional(&mut *self.read_for_job().await?)
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.write(Touched::Nothing).await?;
        let done = bound(old.delete).bind(ROWS).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    async fn prune_nodes(&self, now: Timestamp) -> Result<BTreeSet<String>> {
        let (removed_before, released_before) = (ago(now, REMOVED_DAYS), ago(now, UNHEARD_DAYS));
        let mut connection = self.read_for_job().await?;
        let removed = ids(&mut connection, REMOVED, removed_before, NODES).await?;
        let unheard = ids(&mut connection, UNHEARD, released_before, NODES).await?;
        drop(connection);
        let mut deleted = BTreeSet::new();
        if removed.is_empty() && unheard.is_empty() {
            return Ok(deleted);
        }
        let mut tx = self.write(Touched::Nothing).await?;
        for id in removed {
            locks::node(&mut tx, &id).await?;
            if delete_removed(&mut tx, &id, removed_before).await? {
                deleted.insert(id);
            }
        }
        for id in unheard {
            locks::join_tokens_of(&mut tx, &id).await?;
            locks::node(&mut tx, &id).await?;
            if delete_unheard(&mut tx, &id, released_before).await? {
                deleted.insert(id);
            }
        }
        tx.touch(Touched::Nodes(deleted.clone()));
        tx.commit().await?;
        Ok(deleted)
    }

    /// Deletes ended join tokens with their uses, unless a registration with one could still be heard.
    async fn prune_join_tokens(&self, now: Timestamp) -> Result<u64> {
        let ended_before = ago(now, JOIN_TOKEN_DAYS);
        let ended = ids(
            &mut *self.read_for_job().await?,
            ENDED_JOIN_TOKENS,
            ended_before,
            ROWS,
        )
        .await?;
        if ended.is_empty() {
            return Ok(0);
        }
        let mut tx = self.write(Touched::Nothing).await?;
        let mut deleted = 0;
        for id in ended {
            locks::join_token(&mut tx, &id).await?;
            let token = "DELETE FROM join_tokens WHERE id = $1
                 AND NOT EXISTS (SELECT 1 FROM join_uses WHERE token_id = $1 AND confirmed_at IS NULL)";
            if delete(&mut tx, token, &id).await? > 0 {
                delete(&mut tx, "DELETE FROM join_uses WHERE token_id = $1", &id).await?;
                deleted += 1;
            }
        }
        tx.commit().await?;
        Ok(deleted)
    }
}

/// Keeps the newest events of a node.
pub(super) async fn trim_events(c: &mut Connection, node: &str) -> Result<()> {
    sqlx::query(
        "DELETE FROM events WHERE node_id = $1 AND sequence <=
             (SELECT sequence FROM events WHERE node_id = $1 ORDER BY sequence DESC LIMIT 1 OFFSET $2)",
    )
    .bind(node)
    .bind(EVENTS_OF_A_NODE)
    .execute(c)
    .await?;
    Ok(())
}

/// Statements that say whether there are old rows, and delete some of them.
#[derive(Clone, Copy)]
struct Old {
    find: &'static str,
    delete: &'static str,
}

const OLD_EVENTS: Old = Old {
    find: "SELECT 1 FROM events WHERE received_at < $1 LIMIT 1",
    delete: "DELETE FROM events WHERE sequence IN
         (SELECT sequence FROM events WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
};

const OLD_COMMANDS: Old = Old {
    find: "SELECT 1 FROM commands WHERE COALESCE(result_at, expires_at) < $1 LIMIT 1",
    delete: "DELETE FROM commands WHERE sequence IN
         (SELECT sequence FROM commands WHERE COALESCE(result_at, expires_at) < $1 LIMIT $2)",
};

/// The database keeps lines of all other actions (migration 4).
macro_rules! routine_lines {
    () => {
        "SELECT sequence FROM audit WHERE action IN ('joinToken.refused', 'node.refused', 'node.registeredAgain')"
    };
}
macro_rules! old_routine_lines {
    () => {
        concat!(
            routine_lines!(),
            " AND (at < $1 OR sequence <= (",
            routine_lines!(),
            " ORDER BY sequence DESC LIMIT 1 OFFSET $2))"
        )
    };
}
const OLD_ROUTINE_LINES: Old = Old {
    find: concat!(old_routine_lines!(), " LIMIT 1"),
    delete: concat!(
        "DELETE FROM audit WHERE sequence IN (",
        old_routine_lines!(),
        " LIMIT $3)"
    ),
};

const ENDED_JOIN_TOKENS: &str = "SELECT id FROM join_tokens t WHERE COALESCE(revoked_at, expires_at) < $1
     AND NOT EXISTS (SELECT 1 FROM join_uses WHERE token_id = t.id AND confirmed_at IS NULL) LIMIT $2";
const REMOVED: &str = "SELECT id FROM nodes WHERE lifecycle = 'removed' AND lifecycle_at < $1 LIMIT $2";
/// Nodes and replacements of which every use of a join token was given back before that time.
const UNHEARD: &str = "SELECT id FROM
         (SELECT id FROM nodes WHERE lifecycle = 'abandoned' UNION ALL SELECT id FROM replacements) unheard
     WHERE NOT EXISTS (SELECT 1 FROM join_uses
         WHERE node_id = unheard.id AND (released_at IS NULL OR released_at >= $1)) LIMIT $2";

async fn ids(c: &mut Connection, statement: &'static str, before: i64, limit: i64) -> Result<Vec<String>> {
    let found = sqlx::query_scalar(statement).bind(before).bind(limit);
    Ok(found.fetch_all(c).await?)
}

/// `false`: an operator has taken it in again meanwhile. The node is locked.
async fn delete_removed(c: &mut Connection, id: &str, before: i64) -> Result<bool> {
    let node = sqlx::query("DELETE FROM nodes WHERE id = $1 AND lifecycle = 'removed' AND lifecycle_at < $2");
    let done = node.bind(id).bind(before).execute(&mut *c).await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    delete_what_belongs_to(c, id).await?;
    Ok(true)
}

/// `false`: it was heard meanwhile, or has registered again. Its join tokens and the node are locked.
async fn delete_unheard(c: &mut Connection, id: &str, released_before: i64) -> Result<bool> {
    let is_open = sqlx::query(
        "SELECT 1 FROM join_uses WHERE node_id = $1 AND (released_at IS NULL OR released_at >= $2) LIMIT 1",
    )
    .bind(id)
    .bind(released_before)
    .fetch_optional(&mut *c)
    .await?
    .is_some();
    if is_open {
        return Ok(false);
    }
    let nodes = delete(
        c,
        "DELETE FROM nodes WHERE id = $1 AND lifecycle = 'abandoned'",
        id,
    )
    .await?;
    let replacements = delete(c, "DELETE FROM replacements WHERE id = $1", id).await?;
    if nodes + replacements == 0 {
        return Ok(false);
    }
    delete(c, "DELETE FROM join_uses WHERE node_id = $1", id).await?;
    delete_what_belongs_to(c, id).await?;
    Ok(true)
}

/// Confirmed uses of join tokens stay: they belong to the tokens.
async fn delete_what_belongs_to(c: &mut Connection, node: &str) -> Result<()> {
    for statement in [
        "DELETE FROM node_tokens WHERE node_id = $1
             OR node_id IN (SELECT id FROM replacements WHERE node_id = $1)",
        "DELETE FROM replacements WHERE node_id = $1",
        "DELETE FROM node_presence WHERE node_id = $1",
        "DELETE FROM node_status WHERE node_id = $1",
        "DELETE FROM events WHERE node_id = $1",
        "DELETE FROM commands WHERE node_id = $1",
        "DELETE FROM desired WHERE scope = $1",
    ] {
        delete(c, statement, node).await?;
    }
    Ok(())
}

async fn delete(c: &mut Connection, statement: &'static str, id: &str) -> Result<u64> {
    Ok(sqlx::query(statement).bind(id).execute(c).await?.rows_affected())
}

/// So many days before now, as times are stored.
fn ago(now: Timestamp, days: i64) -> i64 {
    millis(after(now, -days * DAY_SECONDS))
}
