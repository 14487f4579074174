//! Releases.

use super::columns::{from_json, text, to_json};
use super::database::{Connection, Result};
use super::engine::Engine;
use crate::clock::{millis, timestamp};
use baseos_interfaces::admin::ReleaseRecord;
use baseos_interfaces::desired::{Release, Service};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// `false`: there already is a release with this commit.
pub(crate) async fn insert(c: &mut Connection, record: &ReleaseRecord, by: &str) -> Result<bool> {
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

/// Replaces what is stored of a release; its commit names it.
pub(crate) async fn update(c: &mut Connection, release: &Release) -> Result<()> {
    sqlx::query("UPDATE releases SET document = $2 WHERE commit_id = $1")
        .bind(&release.commit)
        .bind(to_json(release)?)
        .execute(c)
        .await?;
    Ok(())
}

pub(crate) async fn find(c: &mut Connection, commit: &str) -> Result<Option<ReleaseRecord>> {
    let row = sqlx::query("SELECT document, created_at FROM releases WHERE commit_id = $1")
        .bind(text(commit))
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

/// The services of other releases whose images are of this repository, each with its release's commit. More may come:
/// those of repositories whose names begin so.
pub(crate) async fn services_with_images(
    c: &mut Connection,
    repository: &str,
    commit: &str,
) -> Result<Vec<(String, Service)>> {
    // Its parts are constants, so the statement is safe.
    let services = Engine::of(c).services();
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT commit_id, service FROM ({services}) AS services
         WHERE commit_id <> $1 AND substr(image, 1, length($2)) = $2 ORDER BY sequence DESC"
    )))
    .bind(commit)
    .bind(repository)
    .fetch_all(c)
    .await?;
    let service = |row: &AnyRow| Ok((row.try_get(0)?, from_json(row.try_get(1)?)?));
    rows.iter().map(service).collect()
}

/// Newest first, each with its sequence number, which is below `before`.
pub(crate) async fn list(c: &mut Connection, before: i64, limit: i64) -> Result<Vec<(i64, ReleaseRecord)>> {
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
