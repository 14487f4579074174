//! The append-only audit log.

use super::columns::{from_json, to_json, unsigned};
use super::database::{Connection, Result, Storage};
use super::session_cache::Touched;
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::AuditRecord;
use serde_json::Value;
use sqlx::Row as _;

/// Who did what with what. Written in the transaction of the change that it is about.
#[derive(Clone, Debug)]
pub(crate) struct AuditLine {
    /// An admin token's id, a node's id, `cloudly` or `configuration`.
    pub(crate) actor: String,
    pub(crate) action: &'static str,
    pub(crate) subject: Option<String>,
    /// Never holds a secret.
    pub(crate) data: Value,
}

impl AuditLine {
    pub(crate) fn new(actor: &str, action: &'static str, subject: Option<&str>, data: Value) -> Self {
        Self {
            actor: actor.to_owned(),
            action,
            subject: subject.map(str::to_owned),
            data,
        }
    }
}

impl Storage {
    /// Writes lines about what changed nothing else, each with its time.
    pub(crate) async fn note(&self, lines: &[(Timestamp, AuditLine)]) -> Result<()> {
        let mut tx = self.write(Touched::Nothing).await?;
        for (at, line) in lines {
            append(&mut tx, *at, line).await?;
        }
        tx.commit().await
    }

    /// Newest first, with sequence numbers below `before`.
    pub(crate) async fn audit_lines(&self, before: i64, limit: i64) -> Result<Vec<AuditRecord>> {
        list(&mut *self.read().await?, before, limit).await
    }
}

pub(super) async fn append(c: &mut Connection, now: Timestamp, line: &AuditLine) -> Result<()> {
    let AuditLine {
        actor,
        action,
        subject,
        data,
    } = line;
    tracing::info!(actor, action, subject, %data, "audit");
    sqlx::query("INSERT INTO audit (at, actor, action, subject, data) VALUES ($1, $2, $3, $4, $5)")
        .bind(millis(now))
        .bind(actor)
        .bind(*action)
        .bind(subject)
        .bind(to_json(data)?)
        .execute(c)
        .await?;
    Ok(())
}

async fn list(c: &mut Connection, before: i64, limit: i64) -> Result<Vec<AuditRecord>> {
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
