//! Commands for nodes, and their results.

use super::columns::{from_json, text, to_json};
use super::database::{Connection, Result};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::CommandRecord;
use baseos_interfaces::command::{Command, CommandResult};
use sqlx::Row as _;
use sqlx::any::AnyRow;

pub(crate) async fn insert(c: &mut Connection, node: &str, command: &CommandRecord, by: &str) -> Result<()> {
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
pub(crate) async fn count_open(c: &mut Connection, node: &str, now: Timestamp) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM commands WHERE node_id = $1 AND result IS NULL AND expires_at > $2",
    )
    .bind(node)
    .bind(millis(now))
    .fetch_one(c)
    .await
}

/// A node's commands without a result that have not expired, oldest first.
pub(crate) async fn list_open(c: &mut Connection, node: &str, now: Timestamp) -> Result<Vec<Command>> {
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

/// A node's commands, newest first, each with its sequence number, which is below `before`.
pub(crate) async fn list(
    c: &mut Connection,
    node: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, CommandRecord)>> {
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
pub(crate) async fn set_result(
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
