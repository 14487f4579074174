//! Join tokens, of which only hashes are stored.

use super::audit::{self, AuditLine};
use super::columns::{from_json, text, to_json};
use super::database::{Connection, Result, Storage};
use super::session_cache::Touched;
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::JoinTokenRecord;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(crate) struct JoinToken {
    pub(crate) id: String,
    pub(crate) mac: String,
    pub(crate) max_uses: u32,
    pub(crate) uses: u32,
    pub(crate) fleet: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) require_approval: bool,
    pub(crate) allow_replace: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl JoinToken {
    /// Without the hash.
    pub(crate) fn into_record(self) -> JoinTokenRecord {
        JoinTokenRecord {
            id: self.id,
            max_uses: self.max_uses,
            uses: self.uses,
            fleet: self.fleet,
            labels: self.labels,
            require_approval: self.require_approval,
            allow_replace: self.allow_replace,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        }
    }
}

/// What [`Storage::revoke_join_token`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    Now,
    Before,
    Unknown,
}

impl Storage {
    /// `false`: there already is a token with this id; it stays as it is.
    pub(crate) async fn create_join_token(&self, token: &JoinToken, line: AuditLine) -> Result<bool> {
        let mut tx = self.write(Touched::Nothing).await?;
        let created = insert(&mut tx, token).await?;
        if created {
            audit::append(&mut tx, token.created_at, &line).await?;
        }
        tx.commit().await?;
        Ok(created)
    }

    pub(crate) async fn join_token(&self, id: &str) -> Result<Option<JoinToken>> {
        find(&mut *self.read().await?, id).await
    }

    /// By id, with ids above `after`.
    pub(crate) async fn join_tokens(&self, after: &str, limit: i64) -> Result<Vec<JoinToken>> {
        list(&mut *self.read().await?, after, limit).await
    }

    pub(crate) async fn revoke_join_token(
        &self,
        id: &str,
        now: Timestamp,
        line: AuditLine,
    ) -> Result<Revoked> {
        let mut tx = self.write(Touched::Nothing).await?;
        if find(&mut tx, id).await?.is_none() {
            tx.rollback().await?;
            return Ok(Revoked::Unknown);
        }
        let revoked = revoke(&mut tx, id, now).await?;
        if revoked {
            audit::append(&mut tx, now, &line).await?;
        }
        tx.commit().await?;
        Ok(if revoked { Revoked::Now } else { Revoked::Before })
    }
}

async fn insert(c: &mut Connection, token: &JoinToken) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO join_tokens (id, mac, max_uses, uses, fleet, labels, require_approval, allow_replace,
             created_at, created_by, expires_at)
         VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&token.id)
    .bind(&token.mac)
    .bind(i64::from(token.max_uses))
    .bind(&token.fleet)
    .bind(to_json(&token.labels)?)
    .bind(i64::from(token.require_approval))
    .bind(i64::from(token.allow_replace))
    .bind(millis(token.created_at))
    .bind(&token.created_by)
    .bind(millis(token.expires_at))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn find(c: &mut Connection, id: &str) -> Result<Option<JoinToken>> {
    let row = sqlx::query("SELECT * FROM join_tokens WHERE id = $1")
        .bind(text(id))
        .fetch_optional(c)
        .await?;
    row.as_ref().map(token).transpose()
}

async fn list(c: &mut Connection, after: &str, limit: i64) -> Result<Vec<JoinToken>> {
    let rows = sqlx::query("SELECT * FROM join_tokens WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(text(after))
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter().map(token).collect()
}

fn token(row: &AnyRow) -> Result<JoinToken> {
    let number = |column: &str| row.try_get::<i64, _>(column);
    Ok(JoinToken {
        id: row.try_get("id")?,
        mac: row.try_get("mac")?,
        max_uses: u32::try_from(number("max_uses")?).unwrap_or(0),
        uses: u32::try_from(number("uses")?).unwrap_or(0),
        fleet: row.try_get("fleet")?,
        labels: from_json(row.try_get("labels")?)?,
        require_approval: number("require_approval")? != 0,
        allow_replace: number("allow_replace")? != 0,
        created_at: timestamp(number("created_at")?),
        created_by: row.try_get("created_by")?,
        expires_at: timestamp(number("expires_at")?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(timestamp),
    })
}

/// `false`: there is no such token, or it was revoked before.
async fn revoke(c: &mut Connection, id: &str, now: Timestamp) -> Result<bool> {
    let done = sqlx::query("UPDATE join_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(text(id))
        .bind(millis(now))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}
