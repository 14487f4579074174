//! Join tokens and their uses.

use super::{Connection, Result, from_json, to_json};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::JoinTokenRecord;
use sqlx::Row as _;
use std::collections::BTreeMap;

/// How long a use may wait for the node's first heartbeat before it is given back, seconds (contract §3.2).
pub(crate) const UNCONFIRMED_SECONDS: i64 = 15 * 60;

/// A join token as stored: everything but itself.
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
    /// Without its hash, for operators.
    pub(crate) fn record(self) -> JoinTokenRecord {
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

/// A use of a token by a registration.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) node_id: String,
    pub(crate) confirmed: bool,
    pub(crate) released: bool,
}

/// Stores a token; one with this id that is there already stays as it is. Says whether it is new.
pub(crate) async fn insert(c: &mut Connection, token: &JoinToken) -> Result<bool> {
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

/// The token with this public id.
pub(crate) async fn find(c: &mut Connection, id: &str) -> Result<Option<JoinToken>> {
    let row = sqlx::query("SELECT * FROM join_tokens WHERE id = $1")
        .bind(id)
        .fetch_optional(c)
        .await?;
    row.as_ref().map(token).transpose()
}

/// Tokens by id, from behind `after`.
pub(crate) async fn list(c: &mut Connection, after: &str, limit: i64) -> Result<Vec<JoinToken>> {
    let rows = sqlx::query("SELECT * FROM join_tokens WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter().map(token).collect()
}

fn token(row: &sqlx::sqlite::SqliteRow) -> Result<JoinToken> {
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

/// Revokes a token; `false`: there is none, or it was revoked before.
pub(crate) async fn revoke(c: &mut Connection, id: &str, now: Timestamp) -> Result<bool> {
    let done = sqlx::query("UPDATE join_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(millis(now))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes one use, if there is one left: one statement, so of N nodes racing for one use exactly one wins.
/// `late`: the use was taken in time once and only comes back, so the expiry does not count.
pub(crate) async fn take(c: &mut Connection, id: &str, now: Timestamp, late: bool) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE join_tokens SET uses = uses + 1
         WHERE id = $1 AND uses < max_uses AND revoked_at IS NULL AND (expires_at > $2 OR $3 = 1)",
    )
    .bind(id)
    .bind(millis(now))
    .bind(i64::from(late))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives back uses whose node has not been heard from in time; those nodes are abandoned. Answers how many.
pub(crate) async fn give_back(c: &mut Connection, now: Timestamp) -> Result<u64> {
    let before = millis(now).saturating_sub(UNCONFIRMED_SECONDS * 1000);
    let stale = sqlx::query(
        "SELECT token_id, registration_id, node_id FROM join_uses
         WHERE confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $1",
    )
    .bind(before)
    .fetch_all(&mut *c)
    .await?;
    for row in &stale {
        let (token, registration): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let node: String = row.try_get(2)?;
        sqlx::query("UPDATE join_uses SET released_at = $3 WHERE token_id = $1 AND registration_id = $2")
            .bind(&token)
            .bind(&registration)
            .bind(millis(now))
            .execute(&mut *c)
            .await?;
        sqlx::query("UPDATE join_tokens SET uses = uses - 1 WHERE id = $1 AND uses > 0")
            .bind(&token)
            .execute(&mut *c)
            .await?;
        sqlx::query(
            "UPDATE nodes SET lifecycle = 'abandoned'
             WHERE id = $1 AND confirmed_at IS NULL AND lifecycle = 'active'",
        )
        .bind(&node)
        .execute(&mut *c)
        .await?;
    }
    Ok(stale.len() as u64)
}

/// The use a registration has, if it came before.
pub(crate) async fn find_use(c: &mut Connection, token: &str, registration: &str) -> Result<Option<Use>> {
    let row = sqlx::query(
        "SELECT node_id, confirmed_at, released_at FROM join_uses WHERE token_id = $1 AND registration_id = $2",
    )
    .bind(token)
    .bind(registration)
    .fetch_optional(c)
    .await?;
    row.map(|row| {
        Ok(Use {
            node_id: row.try_get(0)?,
            confirmed: row.try_get::<Option<i64>, _>(1)?.is_some(),
            released: row.try_get::<Option<i64>, _>(2)?.is_some(),
        })
    })
    .transpose()
}

/// Binds a use to a registration and its node, from now on.
pub(crate) async fn bind_use(
    c: &mut Connection,
    token: &str,
    registration: &str,
    node: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO join_uses (token_id, registration_id, node_id, taken_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (token_id, registration_id) DO UPDATE
         SET taken_at = excluded.taken_at, released_at = NULL",
    )
    .bind(token)
    .bind(registration)
    .bind(node)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}

/// The node has been heard from: its use is spent for good. `false`: it had been given back and is gone.
pub(crate) async fn confirm(c: &mut Connection, node: &str, now: Timestamp) -> Result<bool> {
    let open = sqlx::query(
        "SELECT token_id, registration_id, released_at FROM join_uses
         WHERE node_id = $1 AND confirmed_at IS NULL ORDER BY taken_at DESC",
    )
    .bind(node)
    .fetch_all(&mut *c)
    .await?;
    let mut held = open.is_empty();
    for row in &open {
        let (token, registration): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let released = row.try_get::<Option<i64>, _>(2)?.is_some();
        // A late node takes its use again if nobody else has.
        if released && (held || !take(c, &token, now, true).await?) {
            continue;
        }
        held = true;
        sqlx::query(
            "UPDATE join_uses SET confirmed_at = $3, released_at = NULL
             WHERE token_id = $1 AND registration_id = $2",
        )
        .bind(&token)
        .bind(&registration)
        .bind(millis(now))
        .execute(&mut *c)
        .await?;
    }
    Ok(held)
}
