//! What operators do: commands, and the append-only audit log of everything.

use super::{Connection, Result, from_json, to_json, unsigned};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{AuditRecord, CommandRecord};
use baseos_interfaces::command::{Command, CommandResult};
use serde_json::Value;
use sqlx::Row as _;

/// Stores a command for a node.
pub(crate) async fn add_command(
    c: &mut Connection,
    node: &str,
    command: &CommandRecord,
    by: &str,
) -> Result<()> {
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
pub(crate) async fn open_count(c: &mut Connection, node: &str, now: Timestamp) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM commands WHERE node_id = $1 AND result IS NULL AND expires_at > $2",
    )
    .bind(node)
    .bind(millis(now))
    .fetch_one(c)
    .await
}

/// A node's commands without a result that have not expired, oldest first.
pub(crate) async fn open_commands(c: &mut Connection, node: &str, now: Timestamp) -> Result<Vec<Command>> {
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

/// A node's commands with their place in the list, newest first, from before `before`.
pub(crate) async fn commands(
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

fn command(row: &sqlx::sqlite::SqliteRow) -> Result<CommandRecord> {
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

/// Stores a command's result; the first one counts, and only from the node the command was for.
pub(crate) async fn put_result(
    c: &mut Connection,
    node: &str,
    result: &CommandResult,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET result = $3, result_at = $4 WHERE id = $1 AND node_id = $2 AND result IS NULL",
    )
    .bind(&result.id)
    .bind(node)
    .bind(to_json(result)?)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}

/// Appends a line to the audit log. `data` never holds a secret.
pub(crate) async fn audit(
    c: &mut Connection,
    now: Timestamp,
    actor: &str,
    action: &str,
    subject: Option<&str>,
    data: &Value,
) -> Result<()> {
    sqlx::query("INSERT INTO audit (at, actor, action, subject, data) VALUES ($1, $2, $3, $4, $5)")
        .bind(millis(now))
        .bind(actor)
        .bind(action)
        .bind(subject)
        .bind(to_json(data)?)
        .execute(c)
        .await?;
    Ok(())
}

/// The audit log, newest first, from before `before`.
pub(crate) async fn audit_log(c: &mut Connection, before: i64, limit: i64) -> Result<Vec<AuditRecord>> {
    let rows = sqlx::query("SELECT * FROM audit WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2")
        .bind(before)
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRecord {
                sequence: unsigned(row, "sequence")?,
                at: timestamp(row.try_get("at")?),
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                data: from_json(row.try_get("data")?)?,
            })
        })
        .collect()
}
