//! Uses of join tokens. A use belongs to one registration; the node's first heartbeat confirms it, and without one it
//! is given back (contract §3.2).

use super::database::{Connection, Result, Storage};
use super::locks;
use super::session_cache::Touched;
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::registration::RegistrationId;
use sqlx::Row as _;
use std::collections::{BTreeMap, BTreeSet};

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
/// many uses there were, and the nodes. Locks the join tokens. A statement for all of them, and one a token.
async fn give_back(c: &mut Connection, now: Timestamp) -> Result<(u64, BTreeSet<String>)> {
    locks::join_tokens_overdue(c, overdue_at(now)).await?;
    let given_back = sqlx::query(
        "UPDATE join_uses SET released_at = $1
         WHERE confirmed_at IS NULL AND released_at IS NULL AND taken_at <= $2
         RETURNING token_id, node_id",
    )
    .bind(millis(now))
    .bind(overdue_at(now))
    .fetch_all(&mut *c)
    .await?;
    let mut of_tokens = BTreeMap::<&str, i64>::new();
    let mut nodes = BTreeSet::new();
    for row in &given_back {
        *of_tokens.entry(row.try_get(0)?).or_default() += 1;
        nodes.insert(row.try_get(1)?);
    }
    for (token, count) in of_tokens {
        sqlx::query(
            "UPDATE join_tokens SET uses = CASE WHEN uses > $2 THEN uses - $2 ELSE 0 END WHERE id = $1",
        )
        .bind(token)
        .bind(count)
        .execute(&mut *c)
        .await?;
    }
    if !given_back.is_empty() {
        sqlx::query(
            "UPDATE nodes SET lifecycle = 'abandoned'
             WHERE confirmed_at IS NULL AND lifecycle = 'active'
                 AND id IN (SELECT node_id FROM join_uses WHERE released_at = $1)",
        )
        .bind(millis(now))
        .execute(c)
        .await?;
    }
    Ok((given_back.len() as u64, nodes))
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

/// Whether a replacement that is heard for the first time may take effect: it takes a node over from a device that
/// works, so its join token must not have been revoked, nor have expired while its use was not confirmed in time.
pub(super) async fn may_replace(c: &mut Connection, replacement: &str, now: Timestamp) -> Result<bool> {
    let row = sqlx::query(
        "SELECT 1 FROM join_uses JOIN join_tokens ON join_tokens.id = join_uses.token_id
         WHERE node_id = $1 AND confirmed_at IS NULL AND revoked_at IS NULL
             AND (taken_at > $2 OR expires_at > $3)
         LIMIT 1",
    )
    .bind(replacement)
    .bind(overdue_at(now))
    .bind(millis(now))
    .fetch_optional(c)
    .await?;
    Ok(row.is_some())
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
