//! The one seam to the database: connections, transactions, migrations. The modules below hold the statements, in
//! SQL that PostgreSQL understands too; what is SQLite's alone stands in this file and in `migrations/sqlite`.

pub(crate) mod desired;
pub(crate) mod join_tokens;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod reports;

use crate::clock::millis;
use baseos_interfaces::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, Sqlite, SqlitePool, Transaction};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection of the database in use.
pub(crate) type Connection = sqlx::SqliteConnection;
/// What a statement gives.
pub(crate) type Result<T> = std::result::Result<T, sqlx::Error>;

/// In order; the place in this list plus one is the schema's version.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_nodes.sql")];

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or written.
    #[error("cannot open the database {} for writing: {error}", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another server has it.
    #[error("another cloudly already uses the database {}", .0.display())]
    InUse(PathBuf),
    /// Something else is in the file.
    #[error("{} is not a database of Cloudly", .0.display())]
    NotOurs(PathBuf),
    /// A newer Cloudly wrote it.
    #[error("the database {} has schema {found}, this cloudly knows up to {known}: run a newer cloudly", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// The pepper is not the one its tokens were hashed with.
    #[error("the pepper in {} is not the one this database was made with, so no token would be accepted: restore it from the backup", .0.display())]
    Pepper(PathBuf),
    /// Anything else the database said.
    #[error("the database {}: {error}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        error: sqlx::Error,
    },
}

/// The database: one connection that writes, a few that read beside it.
pub(crate) struct Storage {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Two servers on one file would each hold half of the presence; the lock ends with the process.
    _lock: File,
}

impl Storage {
    /// Opens the file, makes it if it does not exist, and brings its schema up to date.
    pub(crate) async fn open(path: &Path, now: Timestamp) -> std::result::Result<Self, OpenError> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let told = |error| told(path, error);
        let writer = pool(1).connect_with(options.clone()).await.map_err(told)?;
        let storage = Self {
            writer,
            reader: pool(4).connect_lazy_with(options),
            _lock: lock,
        };
        storage.migrate(path, now).await?;
        Ok(storage)
    }

    /// A connection to read with.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        self.reader.acquire().await
    }

    /// A transaction to write in; gone without a trace unless committed.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Finishes what was begun and closes the file.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// The fingerprint of the pepper this database was made with; `None`: it is new.
    pub(crate) async fn pepper_fingerprint(&self) -> Result<Option<String>> {
        let mut connection = self.read().await?;
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'pepper'")
            .fetch_optional(&mut *connection)
            .await
    }

    /// Notes the fingerprint of a new database's pepper.
    pub(crate) async fn note_pepper(&self, fingerprint: &str) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('pepper', $1) ON CONFLICT (name) DO NOTHING")
            .bind(fingerprint)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn migrate(&self, path: &Path, now: Timestamp) -> std::result::Result<(), OpenError> {
        let told = |error| told(path, error);
        let mut connection = self.writer.acquire().await.map_err(told)?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(told)?;
        let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(&mut *tx)
            .await
            .map_err(told)?;
        if !tables.is_empty() && !tables.iter().any(|name| name == "cloudly_schema") {
            return Err(OpenError::NotOurs(path.to_owned()));
        }
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS cloudly_schema (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        )
        .execute(&mut *tx)
        .await
        .map_err(told)?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM cloudly_schema")
            .fetch_one(&mut *tx)
            .await
            .map_err(told)?;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        if done > MIGRATIONS.len() {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: MIGRATIONS.len(),
            });
        }
        for (version, migration) in (1i64..).zip(MIGRATIONS).skip(done) {
            sqlx::raw_sql(*migration).execute(&mut *tx).await.map_err(told)?;
            sqlx::query("INSERT INTO cloudly_schema (version, applied_at) VALUES ($1, $2)")
                .bind(version)
                .bind(millis(now))
                .execute(&mut *tx)
                .await
                .map_err(told)?;
        }
        tx.commit().await.map_err(told)
    }
}

/// Takes the database for this process. Makes the file too, so that nobody else can read it: releases may hold
/// secrets of their services. SQLite gives its other files the same mode.
fn lock(path: &Path) -> std::result::Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let fail = |error| OpenError::Io {
        path: path.to_owned(),
        error,
    };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(fail)?;
    let file = options.open(name).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Turns SQLite's codes into sentences.
fn told(path: &Path, error: sqlx::Error) -> OpenError {
    let code = error
        .as_database_error()
        .and_then(|e| e.code())
        .and_then(|code| code.parse::<i32>().ok());
    let io = |kind: io::ErrorKind| OpenError::Io {
        path: path.to_owned(),
        error: kind.into(),
    };
    match code.map(|code| code & 0xff) {
        Some(26) => OpenError::NotOurs(path.to_owned()),
        Some(8) => io(io::ErrorKind::ReadOnlyFilesystem),
        Some(14) => io(if path.is_dir() {
            io::ErrorKind::IsADirectory
        } else {
            io::ErrorKind::PermissionDenied
        }),
        _ => OpenError::Database {
            path: path.to_owned(),
            error,
        },
    }
}

/// A document column as a value.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A value as a document column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A column as a non-negative number; a damaged one becomes 0.
pub(crate) fn unsigned(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

/// A number for a column; one beyond its range becomes the largest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
