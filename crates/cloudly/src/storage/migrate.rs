//! Migrations, which are part of the program.

use super::connection::{Connection, OpenError, failed};
use super::engine::Engine;
use super::tables::SCHEMA;
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use sqlx::Connection as _;

/// Brings the schema up to date in one transaction. `database` names it in errors.
pub(super) async fn migrate(
    connection: &mut Connection,
    database: &str,
    now: Timestamp,
) -> Result<(), OpenError> {
    let engine = Engine::of(connection);
    let mut tx = connection
        .begin_with(engine.begin())
        .await
        .map_err(failed(database))?;
    let found = version(&mut tx, database).await?;
    apply(&mut tx, database, found, known(engine), now).await?;
    tx.commit().await.map_err(failed(database))
}

/// The version that this cloudly brings a schema to.
pub(super) fn known(engine: Engine) -> i64 {
    engine.migrations().last().map_or(0, |(version, _)| *version)
}

/// The version of the schema; `None`: there is no table at all.
pub(super) async fn version(c: &mut Connection, database: &str) -> Result<Option<i64>, OpenError> {
    let engine = Engine::of(c);
    let tables: Vec<String> = sqlx::query_scalar(engine.tables())
        .fetch_all(&mut *c)
        .await
        .map_err(failed(database))?;
    if tables.is_empty() {
        return Ok(None);
    }
    if !tables.iter().any(|name| name == SCHEMA) {
        return Err(OpenError::NotOurs(database.to_owned()));
    }
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM cloudly_schema")
        .fetch_one(c)
        .await
        .map_err(failed(database))?;
    let known = known(engine);
    if found > known {
        return Err(OpenError::Newer {
            database: database.to_owned(),
            found,
            known,
        });
    }
    Ok(Some(found))
}

/// Brings a schema from the version that was found to another one, in the transaction of the caller.
pub(super) async fn apply(
    c: &mut Connection,
    database: &str,
    found: Option<i64>,
    until: i64,
    now: Timestamp,
) -> Result<(), OpenError> {
    if found.is_none() {
        sqlx::raw_sql("CREATE TABLE cloudly_schema (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
            .execute(&mut *c)
            .await
            .map_err(failed(database))?;
    }
    let missing = found.unwrap_or(0) + 1..=until;
    let migrations = Engine::of(c).migrations().iter();
    for (version, statements) in migrations.filter(|(version, _)| missing.contains(version)) {
        sqlx::raw_sql(*statements)
            .execute(&mut *c)
            .await
            .map_err(failed(database))?;
        sqlx::query("INSERT INTO cloudly_schema (version, applied_at) VALUES ($1, $2)")
            .bind(*version)
            .bind(millis(now))
            .execute(&mut *c)
            .await
            .map_err(failed(database))?;
    }
    Ok(())
}
