//! Releases.

use super::audit::{self, AuditLine};
use super::columns::{from_json, text, to_json};
use super::database::{Connection, Error, Result, Storage};
use super::engine::Engine;
use super::locks;
use super::session_cache::Touched;
use crate::clock::{millis, timestamp};
use baseos_interfaces::admin::ReleaseRecord;
use baseos_interfaces::desired::{Release, Service};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// What a new release is decided by.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The release that already has its commit.
    pub(crate) known: Option<ReleaseRecord>,
    /// The services of other releases whose images are of its repositories, each with its release's commit. There may be
    /// more: of repositories whose names begin so.
    pub(crate) others: Vec<(String, Service)>,
}

/// What becomes of a release.
#[derive(Debug)]
pub(crate) enum Decided {
    Insert(AuditLine),
    /// What is stored under the commit is replaced.
    Update(ReleaseRecord, AuditLine),
    Known(ReleaseRecord),
}

impl Storage {
    /// Stores a release as `decide` says, and returns what it decided.
    pub(crate) async fn create_release<E: From<Error>>(
        &self,
        record: &ReleaseRecord,
        repositories: &[&str],
        decide: impl FnOnce(Facts) -> std::result::Result<Decided, E>,
    ) -> std::result::Result<Decided, E> {
        let commit = record.release.commit.as_str();
        let mut tx = self.write(Touched::Nothing).await?;
        locks::releases(&mut tx).await?;
        let known = find(&mut tx, commit).await?;
        let mut others = Vec::new();
        for repository in repositories {
            others.append(&mut services_with_images(&mut tx, repository, commit).await?);
        }
        let (mut tx, decided) = tx.unless_refused(decide(Facts { known, others })).await?;
        let now = record.created_at;
        match &decided {
            Decided::Insert(line) => {
                insert(&mut tx, record, &line.actor).await?;
                audit::append(&mut tx, now, line).await?;
            }
            Decided::Update(record, line) => {
                update(&mut tx, &record.release).await?;
                audit::append(&mut tx, now, line).await?;
            }
            Decided::Known(_) => {}
        }
        tx.commit().await?;
        Ok(decided)
    }

    /// Newest first, each with its sequence number, which is below `before`.
    pub(crate) async fn releases(&self, before: i64, limit: i64) -> Result<Vec<(i64, ReleaseRecord)>> {
        list(&mut *self.read().await?, before, limit).await
    }
}

async fn insert(c: &mut Connection, record: &ReleaseRecord, by: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO releases (id, commit_id, document, created_at, created_by) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&record.release.release_id)
    .bind(&record.release.commit)
    .bind(to_json(&record.release)?)
    .bind(millis(record.created_at))
    .bind(by)
    .execute(c)
    .await?;
    Ok(())
}

/// Replaces what is stored of a release; its commit names it.
async fn update(c: &mut Connection, release: &Release) -> Result<()> {
    sqlx::query("UPDATE releases SET document = $2 WHERE commit_id = $1")
        .bind(&release.commit)
        .bind(to_json(release)?)
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn find(c: &mut Connection, commit: &str) -> Result<Option<ReleaseRecord>> {
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

async fn services_with_images(
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

async fn list(c: &mut Connection, before: i64, limit: i64) -> Result<Vec<(i64, ReleaseRecord)>> {
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
