//! The append-only audit log.

use super::columns::{from_json, to_json, unsigned};
use super::database::{Connection, Result};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::AuditRecord;
use serde_json::Value;
use sqlx::Row as _;

/// `data` never holds a secret.
pub(crate) async fn append(
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

/// Newest first, with sequence numbers below `before`.
pub(crate) async fn list(c: &mut Connection, before: i64, limit: i64) -> Result<Vec<AuditRecord>> {
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
