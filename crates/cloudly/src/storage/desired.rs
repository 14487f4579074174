//! Releases, and which of them is desired where.

use super::{Connection, Result, from_json, signed, to_json, unsigned};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::ReleaseRecord;
use baseos_interfaces::desired::{Policy, Release};
use sqlx::Row as _;

/// The scope that means every node without a setting of its own.
pub(crate) const ALL: &str = "all";

/// What is desired in one scope.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) scope: String,
    pub(crate) commit: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) revision: u64,
    pub(crate) set_at: Timestamp,
    pub(crate) set_by: String,
}

/// Stores a release; `false`: one with its commit is there.
pub(crate) async fn insert_release(c: &mut Connection, record: &ReleaseRecord, by: &str) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO releases (id, commit_id, document, created_at, created_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (commit_id) DO NOTHING",
    )
    .bind(&record.release.release_id)
    .bind(&record.release.commit)
    .bind(to_json(&record.release)?)
    .bind(millis(record.created_at))
    .bind(by)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The release with this commit.
pub(crate) async fn release(c: &mut Connection, commit: &str) -> Result<Option<ReleaseRecord>> {
    let row = sqlx::query("SELECT document, created_at FROM releases WHERE commit_id = $1")
        .bind(commit)
        .fetch_optional(c)
        .await?;
    row.map(|row| {
        let release: Release = from_json(row.try_get(0)?)?;
        Ok(ReleaseRecord {
            release,
            created_at: timestamp(row.try_get(1)?),
        })
    })
    .transpose()
}

/// Releases with their place in the list, newest first, from before `before`.
pub(crate) async fn releases(
    c: &mut Connection,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, ReleaseRecord)>> {
    let rows = sqlx::query(
        "SELECT sequence, document, created_at FROM releases WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let release: Release = from_json(row.try_get(1)?)?;
            Ok((
                row.try_get(0)?,
                ReleaseRecord {
                    release,
                    created_at: timestamp(row.try_get(2)?),
                },
            ))
        })
        .collect()
}

/// The next revision: above every revision given out, and above `seen`, what nodes say they have seen (more than
/// was given out, when this database is an older copy).
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

/// The last revision given out.
pub(crate) async fn last_revision(c: &mut Connection) -> Result<u64> {
    let row = sqlx::query("SELECT value FROM counters WHERE name = 'desired'")
        .fetch_one(c)
        .await?;
    unsigned(&row, "value")
}

/// Replaces what is desired in a scope.
pub(crate) async fn put(c: &mut Connection, setting: &Setting) -> Result<()> {
    sqlx::query(
        "INSERT INTO desired (scope, commit_id, policy, revision, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope) DO UPDATE SET commit_id = excluded.commit_id, policy = excluded.policy,
             revision = excluded.revision, set_at = excluded.set_at, set_by = excluded.set_by",
    )
    .bind(&setting.scope)
    .bind(&setting.commit)
    .bind(to_json(&setting.policy)?)
    .bind(signed(setting.revision))
    .bind(millis(setting.set_at))
    .bind(&setting.set_by)
    .execute(c)
    .await?;
    Ok(())
}

/// Takes a scope's setting away; `false`: it had none.
pub(crate) async fn remove(c: &mut Connection, scope: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM desired WHERE scope = $1")
        .bind(scope)
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What counts for a node: its own setting, else the one for all.
pub(crate) async fn effective(c: &mut Connection, node: &str) -> Result<Option<Setting>> {
    let rows = sqlx::query("SELECT * FROM desired WHERE scope = $1 OR scope = $2")
        .bind(node)
        .bind(ALL)
        .fetch_all(c)
        .await?;
    let settings = rows.iter().map(setting).collect::<Result<Vec<_>>>()?;
    Ok(settings.into_iter().max_by_key(|setting| setting.scope != ALL))
}

fn setting(row: &sqlx::sqlite::SqliteRow) -> Result<Setting> {
    Ok(Setting {
        scope: row.try_get("scope")?,
        commit: row.try_get("commit_id")?,
        policy: from_json(row.try_get("policy")?)?,
        revision: unsigned(row, "revision")?,
        set_at: timestamp(row.try_get("set_at")?),
        set_by: row.try_get("set_by")?,
    })
}
