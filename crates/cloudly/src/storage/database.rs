//! Connections, transactions, migrations: what is SQLite's alone.

use crate::clock::millis;
use baseos_interfaces::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqlitePool, Transaction};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Error = sqlx::Error;
pub(crate) type Result<T> = std::result::Result<T, Error>;

const SQLITE_READONLY: i32 = 8;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// In order; the index plus one is the schema's version.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_nodes.sql")];

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the database {} for writing: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("another cloudly already uses the database {}", .0.display())]
    InUse(PathBuf),
    #[error("{} is not a database of Cloudly", .0.display())]
    NotOurs(PathBuf),
    #[error("the database {} has schema {found}, this cloudly knows up to {known}: run a newer cloudly", path.display())]
    Newer { path: PathBuf, found: i64, known: usize },
    #[error("the pepper in {} is not the one this database was made with, so no token would be accepted: restore it from the backup", .0.display())]
    Pepper(PathBuf),
    #[error("the database {}: {error}", path.display())]
    Database { path: PathBuf, error: sqlx::Error },
}

/// One connection that writes, and a few that read beside it.
pub(crate) struct Storage {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Keeps a second server out, since each would hold half of the presence.
    _lock: Lock,
}

/// An exclusive lock on a file. It is released explicitly: closing the file is not enough while a child process that was
/// just forked has a copy of the descriptor.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // At worst it ends with the process.
        let _ = self.0.unlock();
    }
}

impl Storage {
    /// Opens the file, creates it if it does not exist, and migrates its schema.
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
        let failed = |error| open_error(path, error);
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        let storage = Self {
            writer,
            reader: pool(4).connect_lazy_with(options),
            _lock: lock,
        };
        storage.migrate(path, now).await?;
        Ok(storage)
    }

    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        self.reader.acquire().await
    }

    /// A transaction that is rolled back unless it is committed.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Waits for running statements and closes the file.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// The fingerprint of the pepper this database was made with; `None`: the database is new.
    pub(crate) async fn pepper_fingerprint(&self) -> Result<Option<String>> {
        let mut connection = self.read().await?;
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'pepper'")
            .fetch_optional(&mut *connection)
            .await
    }

    pub(crate) async fn set_pepper_fingerprint(&self, fingerprint: &str) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('pepper', $1) ON CONFLICT (name) DO NOTHING")
            .bind(fingerprint)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn migrate(&self, path: &Path, now: Timestamp) -> std::result::Result<(), OpenError> {
        let failed = |error| open_error(path, error);
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(&mut *tx)
            .await
            .map_err(failed)?;
        if !tables.is_empty() && !tables.iter().any(|name| name == "cloudly_schema") {
            return Err(OpenError::NotOurs(path.to_owned()));
        }
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS cloudly_schema (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        )
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM cloudly_schema")
            .fetch_one(&mut *tx)
            .await
            .map_err(failed)?;
        let applied = usize::try_from(found).unwrap_or(usize::MAX);
        if applied > MIGRATIONS.len() {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: MIGRATIONS.len(),
            });
        }
        for (version, migration) in (1i64..).zip(MIGRATIONS).skip(applied) {
            sqlx::raw_sql(*migration)
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
            sqlx::query("INSERT INTO cloudly_schema (version, applied_at) VALUES ($1, $2)")
                .bind(version)
                .bind(millis(now))
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }
}

/// Locks the database for this process. Creates the file too, with a mode that keeps other users from reading it:
/// releases may hold secrets of their services. SQLite gives its other files the same mode.
fn lock(path: &Path) -> std::result::Result<Lock, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |error| OpenError::Io {
        path: path.to_owned(),
        error,
    };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(failed)?;
    let file = options.open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Tells the causes apart that an operator can mend, by SQLite's primary result code.
fn open_error(path: &Path, error: sqlx::Error) -> OpenError {
    let code = error
        .as_database_error()
        .and_then(|e| e.code())
        .and_then(|code| code.parse::<i32>().ok());
    let io = |kind: io::ErrorKind| OpenError::Io {
        path: path.to_owned(),
        error: kind.into(),
    };
    match code.map(|code| code & 0xff) {
        Some(SQLITE_NOTADB) => OpenError::NotOurs(path.to_owned()),
        Some(SQLITE_READONLY) => io(io::ErrorKind::ReadOnlyFilesystem),
        Some(SQLITE_CANTOPEN) => io(if path.is_dir() {
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
