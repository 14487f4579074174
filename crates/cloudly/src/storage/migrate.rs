//! Migrations, which are part of the program.

use super::connection::{Connection, OpenError};
use super::engine::Engine;
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
    let failed = |error: sqlx::Error| OpenError::Database {
        database: database.to_owned(),
        error: error.into(),
    };
    let mut tx = connection.begin_with(engine.begin()).await.map_err(failed)?;
    let tables: Vec<String> = sqlx::query_scalar(engine.tables())
        .fetch_all(&mut *tx)
        .await
        .map_err(failed)?;
    if !tables.is_empty() && !tables.iter().any(|name| name == "cloudly_schema") {
        return Err(OpenError::NotOurs(database.to_owned()));
    }
    if tables.is_empty() {
        sqlx::raw_sql("CREATE TABLE cloudly_schema (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM cloudly_schema")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    let known = engine.migrations().last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(OpenError::Newer {
            database: database.to_owned(),
            found,
            known,
        });
    }
    for (version, statements) in engine.migrations().iter().filter(|(version, _)| *version > found) {
        sqlx::raw_sql(*statements)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO cloudly_schema (version, applied_at) VALUES ($1, $2)")
            .bind(*version)
            .bind(millis(now))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}
