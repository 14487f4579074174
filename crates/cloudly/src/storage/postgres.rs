//! A database of a PostgreSQL server.

use super::connection::{Connection, Error, OpenError, Result};
use crate::settings::PostgresUrl;
use sqlx::ConnectOptions as _;
use sqlx::any::AnyConnectOptions;

/// The advisory lock that a running server holds.
const SERVER_LOCK: i64 = 0x636c_6f75_646c_7901;
const LOCK_NOT_AVAILABLE: &str = "55P03";

pub(super) fn options(url: &PostgresUrl) -> Result<AnyConnectOptions> {
    Ok(url.expose().parse()?)
}

/// Sets up a connection: a transaction that waits for another one gives up, as SQLite's do.
pub(super) async fn prepare(connection: &mut Connection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET lock_timeout = '5s'")
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks the database for this process as long as the connection lives, which is used for nothing else.
pub(super) async fn lock(
    options: &AnyConnectOptions,
    database: &str,
) -> std::result::Result<Connection, OpenError> {
    let locked = async {
        let mut connection = options.connect().await?;
        prepare(&mut connection).await?;
        // Its result has a type of its own (void).
        sqlx::query("SELECT pg_advisory_lock($1)::text")
            .bind(SERVER_LOCK)
            .execute(&mut connection)
            .await?;
        Ok(connection)
    };
    locked.await.map_err(|error: Error| {
        let code = match &error {
            Error::Sql(error) => error.as_database_error().and_then(|error| error.code()),
            _ => None,
        };
        if code.as_deref() == Some(LOCK_NOT_AVAILABLE) {
            OpenError::InUse(database.to_owned())
        } else {
            OpenError::Database {
                database: database.to_owned(),
                error,
            }
        }
    })
}
