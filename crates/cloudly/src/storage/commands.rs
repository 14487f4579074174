//! Commands for nodes, and their results.

use super::audit::{self, AuditLine};
use super::columns::{from_json, text, to_json};
use super::database::{Connection, Error, Result, Storage};
use super::locks;
use super::nodes::{self, Node};
use super::session_cache::Touched;
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::CommandRecord;
use baseos_interfaces::command::{Command, CommandResult};
use sqlx::Row as _;
use sqlx::any::AnyRow;

impl Storage {
    /// Creates a command unless `check` refuses it, which gets the node and how many commands wait for it.
    pub(crate) async fn create_command<E: From<Error>>(
        &self,
        node: &str,
        command: &CommandRecord,
        line: AuditLine,
        check: impl FnOnce(Option<&Node>, i64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let now = command.issued_at;
        let mut tx = self.write(Touched::Node(node.to_owned())).await?;
        locks::node(&mut tx, node).await?;
        let known = nodes::known(&mut tx, node).await?;
        let checked = check(known.as_ref(), count_open(&mut tx, node, now).await?);
        let (mut tx, ()) = tx.unless_refused(checked).await?;
        insert(&mut tx, node, command, &line.actor).await?;
        audit::append(&mut tx, now, &line).await?;
        Ok(tx.commit().await?)
    }

    /// A node's commands, newest first, each with its sequence number, which is below `before`; `None`: there is no such
    /// node.
    pub(crate) async fn commands(
        &self,
        node: &str,
        before: i64,
        limit: i64,
    ) -> Result<Option<Vec<(i64, CommandRecord)>>> {
        let mut connection = self.read().await?;
        if nodes::known(&mut connection, node).await?.is_none() {
            return Ok(None);
        }
        list(&mut connection, node, before, limit).await.map(Some)
    }
}

async fn insert(c: &mut Connection, node: &str, command: &CommandRecord, by: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO commands (id, node_id, action, issued_at, issued_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&command.id)
    .bind(node)
    .bind(to_json(&command.action)?)
    .bind(millis(command.issued_at))
    .bind(by)
    .bind(millis(command.expires_at))
    .execute(c)
    .await?;
    Ok(())
}

/// How many commands wait for a node.
async fn count_open(c: &mut Connection, node: &str, now: Timestamp) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM commands WHERE node_id = $1 AND result IS NULL AND expires_at > $2",
    );
    Ok(count.bind(text(node)).bind(millis(now)).fetch_one(c).await?)
}

/// A node's commands without a result that have not expired, oldest first.
pub(super) async fn list_open(c: &mut Connection, node: &str, now: Timestamp) -> Result<Vec<Command>> {
    let rows = sqlx::query(
        "SELECT * FROM commands WHERE node_id = $1 AND result IS NULL AND expires_at > $2 ORDER BY sequence",
    )
    .bind(node)
    .bind(millis(now))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let CommandRecord {
                id,
                action,
                issued_at,
                expires_at,
                ..
            } = command(row)?;
            Ok(Command {
                id,
                action,
                issued_at,
                expires_at: Some(expires_at),
            })
        })
        .collect()
}

async fn list(c: &mut Connection, node: &str, before: i64, limit: i64) -> Result<Vec<(i64, CommandRecord)>> {
    let rows = sqlx::query(
        "SELECT * FROM commands WHERE node_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
    )
    .bind(node)
    .bind(before)
    .bind(limit)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("sequence")?, command(row)?)))
        .collect()
}

fn command(row: &AnyRow) -> Result<CommandRecord> {
    Ok(CommandRecord {
        id: row.try_get("id")?,
        action: from_json(row.try_get("action")?)?,
        issued_at: timestamp(row.try_get("issued_at")?),
        expires_at: timestamp(row.try_get("expires_at")?),
        result: row
            .try_get::<Option<&str>, _>("result")?
            .map(from_json)
            .transpose()?,
    })
}

/// Stores a result. Only the first one counts, and only from the node that the command is for.
pub(super) async fn set_result(
    c: &mut Connection,
    node: &str,
    result: &CommandResult,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET result = $3, result_at = $4 WHERE id = $1 AND node_id = $2 AND result IS NULL",
    )
    .bind(text(&result.id))
    .bind(node)
    .bind(to_json(result)?)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}
