//! Targets: which release is desired, of one node or of all. The table is `desired`.

use super::columns::{from_json, signed, to_json, unsigned};
use super::database::{Connection, Result};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::Policy;
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// The scope of the target of every node without one of its own.
pub(crate) const ALL: &str = "all";

#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// [`ALL`] or a node's id.
    pub(crate) scope: String,
    /// `None`: no release is desired.
    pub(crate) commit: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) revision: u64,
    pub(crate) set_at: Timestamp,
    pub(crate) set_by: String,
}

/// The next revision: above every issued one, and above `seen`, what nodes say they have seen (more than was issued
/// when this database was restored from a backup).
pub(crate) async fn next_revision(c: &mut Connection, seen: u64) -> Result<u64> {
    let row = sqlx::query(
        "UPDATE counters SET value = CASE WHEN value < $1 THEN $1 ELSE value END + 1
         WHERE name = 'desired' RETURNING value",
    )
    .bind(signed(seen))
    .fetch_one(c)
    .await?;
    unsigned(&row, "value")
}

/// The last revision issued.
pub(crate) async fn last_revision(c: &mut Connection) -> Result<u64> {
    let row = sqlx::query("SELECT value FROM counters WHERE name = 'desired'")
        .fetch_one(c)
        .await?;
    unsigned(&row, "value")
}

pub(crate) async fn put(c: &mut Connection, target: &Target) -> Result<()> {
    sqlx::query(
        "INSERT INTO desired (scope, commit_id, policy, revision, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope) DO UPDATE SET commit_id = excluded.commit_id, policy = excluded.policy,
             revision = excluded.revision, set_at = excluded.set_at, set_by = excluded.set_by",
    )
    .bind(&target.scope)
    .bind(&target.commit)
    .bind(to_json(&target.policy)?)
    .bind(signed(target.revision))
    .bind(millis(target.set_at))
    .bind(&target.set_by)
    .execute(c)
    .await?;
    Ok(())
}

/// `false`: the scope had no target.
pub(crate) async fn remove(c: &mut Connection, scope: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM desired WHERE scope = $1")
        .bind(scope)
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A node's own target, else the one of all.
pub(crate) async fn effective(c: &mut Connection, node: &str) -> Result<Option<Target>> {
    let rows = sqlx::query("SELECT * FROM desired WHERE scope = $1 OR scope = $2")
        .bind(node)
        .bind(ALL)
        .fetch_all(c)
        .await?;
    let targets = rows.iter().map(target).collect::<Result<Vec<_>>>()?;
    Ok(targets.into_iter().max_by_key(|target| target.scope != ALL))
}

fn target(row: &AnyRow) -> Result<Target> {
    Ok(Target {
        scope: row.try_get("scope")?,
        commit: row.try_get("commit_id")?,
        policy: from_json(row.try_get("policy")?)?,
        revision: unsigned(row, "revision")?,
        set_at: timestamp(row.try_get("set_at")?),
        set_by: row.try_get("set_by")?,
    })
}
