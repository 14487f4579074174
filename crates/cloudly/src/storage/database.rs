//! Connections, transactions, migrations: what is SQLite's alone.

use crate::clock::millis;
use baseos_interfaces::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqlitePool, Transaction};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Error = sqlx::Error;
pub(crate) type Result<T> = std::result::Result<T, Error>;

const SQLITE_READONLY: i32 = 8;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// What [`Storage::check`] writes, in bytes: more than is left on a disk on which other writes just failed.
const PROBE_BYTES: usize = 64 * 1024;

/// In order; the index plus one is the schema's version.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_nodes.sql"),
    include_str!("../../migrations/sqlite/0002_runs.sql"),
];

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the database {} for writing: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("cannot open the database {}: make the directory first: `install -d -m 700 {}`", path.display(), directory.display())]
    NoDirectory { path: PathBuf, directory: PathBuf },
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
    /// A write failed, or was given up, since the last check.
    doubted: Arc<AtomicBool>,
    /// Keeps a second server out, since each would hold half of the presence.
    _lock: Lock,
}

/// Why the database cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("the database cannot be read: {0}")]
    Read(#[source] Error),
    #[error("the database cannot be written: {0}")]
    Write(#[source] Error),
}

/// A transaction that is rolled back unless it is committed.
pub(crate) struct Write {
    transaction: Transaction<'static, Sqlite>,
    doubt: Doubt,
}

impl Write {
    pub(crate) async fn commit(self) -> Result<()> {
        let Self { transaction, doubt } = self;
        transaction.commit().await?;
        doubt.dismiss();
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<()> {
        let Self { transaction, doubt } = self;
        transaction.rollback().await?;
        doubt.dismiss();
        Ok(())
    }
}

impl Deref for Write {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.transaction
    }
}

/// Makes the next check write something, unless it is dismissed.
struct Doubt(Option<Arc<AtomicBool>>);

impl Doubt {
    fn dismiss(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if let Some(doubted) = &self.0 {
            doubted.store(true, Ordering::Release);
        }
    }
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
        // After some errors (a full disk, no memory) SQLite itself rolls back, and sqlx still counts the transaction: no
        // other could begin on such a connection.
        let writer = pool(1).before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        });
        let storage = Self {
            writer: writer.connect_with(options.clone()).await.map_err(failed)?,
            reader: pool(4).connect_lazy_with(options),
            doubted: Arc::default(),
            _lock: lock,
        };
        storage.migrate(path, now).await?;
        Ok(storage)
    }

    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        self.reader.acquire().await
    }

    /// A transaction that is rolled back unless it is committed.
    pub(crate) async fn write(&self) -> Result<Write> {
        let doubt = Doubt(Some(Arc::clone(&self.doubted)));
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Write { transaction, doubt })
    }

    /// Fails when the database cannot be read, or cannot be written. Writes something only after a transaction that
    /// was not committed.
    pub(crate) async fn check(&self) -> std::result::Result<(), CheckError> {
        drop(self.read().await.map_err(CheckError::Read)?);
        if self.doubted.load(Ordering::Acquire) {
            self.probe().await.map_err(CheckError::Write)?;
        }
        Ok(())
    }

    async fn probe(&self) -> Result<()> {
        // Before the attempt: a write that fails meanwhile is doubted again.
        self.doubted.store(false, Ordering::Release);
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = $1",
        )
        .bind("x".repeat(PROBE_BYTES))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM meta WHERE name = 'probe'")
            .execute(&mut *tx)
            .await?;
        tx.commit().await
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
    if let Some(directory) = missing_directory(path) {
        return Err(OpenError::NoDirectory {
            path: path.to_owned(),
            directory,
        });
    }
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

/// The directory for a file, if there is none. Absolute, so that it is clear where it is missing.
fn missing_directory(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty())?;
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    (!directory.exists()).then_some(absolute)
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn storage(dir: &tempfile::TempDir) -> Storage {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        Storage::open(&dir.path().join("cloudly.db"), now).await.unwrap()
    }

    async fn insert(storage: &Storage, name: &str, value: &str) -> Result<()> {
        let mut tx = storage.write().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
            .bind(name)
            .bind(value)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    #[tokio::test]
    async fn a_full_disk_fails_one_write_and_not_the_next_ones() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir).await;
        let mut tx = storage.write().await.unwrap();
        // Of this connection alone; SQLite makes it as large as the database is.
        sqlx::raw_sql("PRAGMA max_page_count = 1")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let failed = insert(&storage, "large", &"x".repeat(1 << 20))
            .await
            .unwrap_err()
            .to_string();
        assert!(failed.contains("full"), "{failed}");
        for name in ["a", "b", "c"] {
            insert(&storage, name, "small").await.unwrap();
        }
        storage.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_is_given_up_does_not_cost_the_connection() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir).await;
        let mut tx = storage.write().await.unwrap();
        sqlx::raw_sql("CREATE TEMP TABLE of_this_connection (x)")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        drop(storage.write().await.unwrap());
        let mut tx = storage.write().await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM of_this_connection")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(count, 0);
    }
}
