//! Uses of join tokens. A use belongs to one registration; the node's first heartbeat confirms it, and without one it
//! is given back (contract §3.2).

use super::database::{Connection, Result, Storage};
use super::locks;
use super::session_cache::Touched;
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::registration::RegistrationId;
use sqlx::Row as _;
use std::collections::BTreeSet;

/// How long a use waits for the node's first heartbeat before it is given back, seconds.
const UNCONFIRMED_SECONDS: i64 = 15 * 60;

#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// A node, or a replacement that was not heard yet.
    pub(crate) holder_id: String,
    pub(crate) confirmed: bool,
    pub(crate) released: bool,
}

/// Takes a use if one is left; `false`: none is. It is one statement, so that exactly one of N nodes gets the last one.
async fn take_again(c: &mut Connection, id: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE join_tokens SET uses = uses + 1 WHERE id = $1 AND uses < max_uses AND revoked_at IS NULL",
    )
    .bind(id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a use of a token that is locked and has one left.
pub(super) async fn take(c: &mut Connection, id: &str) -> Result<()> {
    sqlx::query("UPDATE join_tokens SET uses = uses + 1 WHERE id = $1")
        .bind(id)
        .execute(c)
        .await?;
    Ok(())
}

impl Storage {
    /// Whether a registration with this token was admitted before.
    pub(crate) async fn has_registered(&self, token: &str, registration: &RegistrationId) -> Result<bool> {
        let used = find(&mut *self.read().await?, token, registration).await?;
        Ok(used.is_some())
    }

    /// Gives back the uses that no heartbeat confirmed in time, and returns how many.
    pub(crate) async fn give_back_uses(&self, now: Timestamp) -> Result<u64> {
        if !are_overdue(&mut *self.read().await?, now).await? {
            return Ok(0);
        }
        let mut tx = self.write(Touched::Nothing).await?;
        let (given_back, nodes) = give_back(&mut tx, now).await?;
        tx.touch(Touched::Nodes(nodes));
        tx.commit().await?;
        Ok(given_back)
    }
}

/// Whether there are uses to give back.
async fn are_overdue(c: &mut Connection, now: Timestamp) -> Result<bool> {
    let row = sqlx::query(
        "SELECT 1 FROM join_uses WHERE confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $1 LIMIT 1",
    )
    .bind(overdue_at(now))
    .fetch_optional(c)
    .await?;
    Ok(row.is_some())
}

/// Gives back the uses whose nodes have not been heard from in time, marks those nodes abandoned, and returns how
/// many uses there were, and the nodes. Locks the join tokens.
async fn give_back(c: &mut Connection, now: Timestamp) -> Result<(u64, BTreeSet<String>)> {
    let overdue = sqlx::query(
        "SELECT token_id, registration_id, node_id FROM join_uses
         WHERE confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $1 ORDER BY token_id",
    )
    .bind(overdue_at(now))
    .fetch_all(&mut *c)
    .await?;
    let mut locked = String::new();
    for row in &overdue {
        let token: &str = row.try_get(0)?;
        if token != locked {
            locks::join_token(c, token).await?;
            token.clone_into(&mut locked);
        }
    }
    let mut nodes = BTreeSet::new();
    let mut given_back = 0;
    for row in &overdue {
        let (token, registration): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        // Unless it was confirmed or given back until its token was locked.
        let done = sqlx::query(
            "UPDATE join_uses SET released_at = $3
             WHERE token_id = $1 AND registration_id = $2
                 AND confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $4",
        )
        .bind(token)
        .bind(registration)
        .bind(millis(now))
        .bind(overdue_at(now))
        .execute(&mut *c)
        .await?;
        if done.rows_affected() == 0 {
            continue;
        }
        given_back += 1;
        nodes.insert(row.try_get(2)?);
        sqlx::query("UPDATE join_tokens SET uses = uses - 1 WHERE id = $1 AND uses > 0")
            .bind(token)
            .execute(&mut *c)
            .await?;
    }
    for node in &nodes {
        sqlx::query(
            "UPDATE nodes SET lifecycle = 'abandoned'
             WHERE id = $1 AND confirmed_at IS NULL AND lifecycle = 'active'",
        )
        .bind(node)
        .execute(&mut *c)
        .await?;
    }
    Ok((given_back, nodes))
}

/// A use that was taken then, or before, is given back now.
fn overdue_at(now: Timestamp) -> i64 {
    millis(now).saturating_sub(UNCONFIRMED_SECONDS * 1000)
}

pub(super) async fn find(
    c: &mut Connection,
    token: &str,
    registration: &RegistrationId,
) -> Result<Option<Use>> {
    let row = sqlx::query(
        "SELECT node_id, confirmed_at, released_at FROM join_uses WHERE token_id = $1 AND registration_id = $2",
    )
    .bind(token)
    .bind(registration.as_str())
    .fetch_optional(c)
    .await?;
    row.map(|row| {
        Ok(Use {
            holder_id: row.try_get(0)?,
            confirmed: row.try_get::<Option<i64>, _>(1)?.is_some(),
            released: row.try_get::<Option<i64>, _>(2)?.is_some(),
        })
    })
    .transpose()
}

/// Binds a use to a registration and its node or replacement, taken now.
pub(super) async fn bind(
    c: &mut Connection,
    token: &str,
    registration: &RegistrationId,
    holder: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO join_uses (token_id, registration_id, node_id, taken_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (token_id, registration_id) DO UPDATE
         SET node_id = excluded.node_id, taken_at = excluded.taken_at, released_at = NULL",
    )
    .bind(token)
    .bind(registration.as_str())
    .bind(holder)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}

/// Confirms the use of a node, or of a replacement, that has been heard from. `false`: it was given back and none is left.
pub(super) async fn confirm(c: &mut Connection, holder: &str, now: Timestamp) -> Result<bool> {
    let open = sqlx::query(
        "SELECT token_id, registration_id, released_at FROM join_uses
         WHERE node_id = $1 AND confirmed_at IS NULL ORDER BY taken_at DESC",
    )
    .bind(holder)
    .fetch_all(&mut *c)
    .await?;
    let mut confirmed = open.is_empty();
    for row in &open {
        let (token, registration): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let released = row.try_get::<Option<i64>, _>(2)?.is_some();
        // A late node takes its use again if one is left.
        if released && (confirmed || !take_again(c, &token).await?) {
            continue;
        }
        confirmed = true;
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
    Ok(confirmed)
}
