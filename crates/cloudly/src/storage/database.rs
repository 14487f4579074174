//! Connections and transactions.

pub(super) use super::connection::Connection;
pub use super::connection::OpenError;
use super::connection::failed;
pub(crate) use super::connection::{Error, Result};
use super::engine::Engine;
use super::group_commit::{Turn, WriteQueue, in_own_task};
use super::guard::Guard;
use super::session_cache::{SessionCache, Touched};
use super::{migrate, postgres, sqlite, tables};
use crate::metrics::DatabaseMetrics;
use crate::settings::Database;
use baseos_interfaces::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, ConnectOptions as _, Connection as _, Transaction};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What [`Storage::check`] writes, in bytes: more than is left on a disk on which other writes just failed.
const PROBE_BYTES: usize = 64 * 1024;

/// Connections of SQLite that read beside the one that writes.
const SQLITE_READERS: u32 = 4;
/// Connections of PostgreSQL that write, and as many that read beside them.
const POSTGRES_CONNECTIONS: u32 = 8;

/// Connections that write, one with SQLite, and a few that read beside them.
pub(crate) struct Storage {
    writer: Writer,
    reader: AnyPool,
    sessions: Arc<SessionCache>,
    pub(super) metrics: DatabaseMetrics,
    /// A write failed, or was given up, since the last check.
    doubted: Arc<AtomicBool>,
    guard: Guard,
}

/// What a database is opened with.
pub(crate) struct Opening {
    /// How many may wait to write, with SQLite.
    pub(crate) longest_queue: u32,
    pub(crate) metrics: DatabaseMetrics,
    /// For the note of when the schema was migrated.
    pub(crate) now: Timestamp,
}

/// How is written.
enum Writer {
    /// SQLite: one connection.
    Queue(Arc<WriteQueue>),
    /// PostgreSQL: some connections. It commits together what is committed at the same time.
    Pool(AnyPool),
}

/// Why the database cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("the database cannot be read: {0}")]
    Read(#[source] Error),
    #[error("the database cannot be written: {0}")]
    Write(#[source] Error),
    /// The address of the database is for the log.
    #[error("this server has lost its lock on the database")]
    Lock(#[source] OpenError),
}

/// A transaction that is rolled back unless it is committed.
pub(super) struct Write {
    job: Job,
    doubt: Doubt,
    touched: Touched,
    sessions: Arc<SessionCache>,
}

enum Job {
    Turn(Turn),
    Transaction(Transaction<'static, Any>),
}

impl Write {
    /// A request that is given up meanwhile leaves no commit behind that sessions do not know of.
    pub(super) async fn commit(self) -> Result<()> {
        let Self {
            job,
            doubt,
            touched,
            sessions,
        } = self;
        match job {
            Job::Turn(turn) => turn.commit(touched).await?,
            Job::Transaction(transaction) => {
                in_own_task(async move {
                    let committed = transaction.commit().await;
                    // Also when it failed: then it may be committed all the same.
                    sessions.forget(&touched);
                    Ok(committed?)
                })
                .await?;
            }
        }
        doubt.dismiss();
        Ok(())
    }

    /// Changes nothing. What was read in it is stored when this returns `Ok`.
    pub(super) async fn rollback(self) -> Result<()> {
        let Self { job, doubt, .. } = self;
        match job {
            Job::Turn(turn) => turn.rollback().await?,
            Job::Transaction(transaction) => transaction.rollback().await?,
        }
        doubt.dismiss();
        Ok(())
    }

    /// Goes on unless the change is refused; a refusal is told once it is certain what it was decided by.
    pub(super) async fn unless_refused<T, E: From<Error>>(
        self,
        decided: std::result::Result<T, E>,
    ) -> std::result::Result<(Self, T), E> {
        match decided {
            Ok(decided) => Ok((self, decided)),
            Err(refusal) => {
                self.rollback().await?;
                Err(refusal)
            }
        }
    }

    /// It turned out that the transaction changes this.
    pub(super) fn touch(&mut self, touched: Touched) {
        self.touched = touched;
    }
}

impl Deref for Write {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.job {
            Job::Turn(turn) => turn.connection(),
            Job::Transaction(transaction) => transaction,
        }
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.job {
            Job::Turn(turn) => turn.connection_mut(),
            Job::Transaction(transaction) => transaction,
        }
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

impl Storage {
    /// Opens the database and migrates its schema. Creates the file if it does not exist; a PostgreSQL server has to
    /// have the database.
    pub(crate) async fn open(database: &Database, with: Opening) -> std::result::Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        match database {
            Database::Sqlite(path) => Self::open_file(path, with)
                .await
                .map_err(|error| sqlite::open_error(path, error)),
            Database::Postgres(url) => {
                let name = url.to_string();
                let options = postgres::options(url).map_err(failed(&name))?;
                let guard = Guard::session(&options, &name).await?;
                Self::connect(Engine::Postgres, &options, guard, &name, with).await
            }
        }
    }

    async fn open_file(path: &Path, with: Opening) -> std::result::Result<Self, OpenError> {
        let guard = Guard::File {
            _lock: sqlite::lock(path)?,
        };
        let name = path.display().to_string();
        let options = sqlite::options(path).map_err(failed(&name))?;
        Self::connect(Engine::Sqlite, &options, guard, &name, with).await
    }

    async fn connect(
        engine: Engine,
        options: &AnyConnectOptions,
        guard: Guard,
        name: &str,
        with: Opening,
    ) -> std::result::Result<Self, OpenError> {
        let Opening {
            longest_queue,
            metrics,
            now,
        } = with;
        // By itself: a pool would try again and again, and not say what is wrong.
        let mut first = options.connect().await.map_err(failed(name))?;
        engine.prepare(&mut first).await.map_err(failed(name))?;
        migrate::migrate(&mut first, name, now).await?;
        first.close().await.map_err(failed(name))?;
        let pool = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(move |connection, _| Box::pin(engine.prepare(connection)))
        };
        let sessions = Arc::<SessionCache>::default();
        let (writer, readers) = match engine {
            Engine::Sqlite => {
                let sessions = Arc::clone(&sessions);
                let line = WriteQueue::open(options.clone(), longest_queue, sessions, metrics.clone()).await;
                (Writer::Queue(line.map_err(failed(name))?), SQLITE_READERS)
            }
            Engine::Postgres => {
                let writer = pool(POSTGRES_CONNECTIONS).connect_lazy_with(options.clone());
                (Writer::Pool(writer), POSTGRES_CONNECTIONS)
            }
        };
        Ok(Self {
            writer,
            reader: pool(readers).connect_lazy_with(options.clone()),
            sessions,
            metrics,
            doubted: Arc::default(),
            guard,
        })
    }

    pub(super) async fn read(&self) -> Result<PoolConnection<Any>> {
        self.metrics.reads.inc();
        Ok(self.reader.acquire().await?)
    }

    /// The same for a job, which reads as often however many requests come.
    pub(super) async fn read_for_job(&self) -> Result<PoolConnection<Any>> {
        Ok(self.reader.acquire().await?)
    }

    /// A transaction that is rolled back unless it is committed. The sessions of what it touches are read anew after it.
    pub(super) async fn write(&self, touched: Touched) -> Result<Write> {
        self.metrics.writes.inc();
        self.begin(touched).await
    }

    /// The same for presence, which is written as often however many heartbeats come.
    pub(super) async fn write_presence(&self) -> Result<Write> {
        self.metrics.presence_writes.inc();
        self.begin(Touched::Nothing).await
    }

    async fn begin(&self, touched: Touched) -> Result<Write> {
        let doubt = Doubt(Some(Arc::clone(&self.doubted)));
        let job = match &self.writer {
            Writer::Queue(queue) => Job::Turn(queue.turn().await?),
            Writer::Pool(pool) => Job::Transaction(pool.begin_with(Engine::Postgres.begin()).await?),
        };
        Ok(Write {
            job,
            doubt,
            touched,
            sessions: Arc::clone(&self.sessions),
        })
    }

    pub(super) fn sessions(&self) -> &SessionCache {
        &self.sessions
    }

    /// Fails when this server has not the database for itself any more. Has to be asked again and again.
    pub(crate) async fn keep(&self) -> std::result::Result<(), CheckError> {
        let renewed = self.guard.renew().await;
        if !matches!(renewed, Ok(false)) {
            // It may be in another state than it was: a standby that took over may lack the last changes.
            self.sessions.forget(&Touched::All);
        }
        match renewed {
            Ok(false) => {}
            Ok(true) => tracing::warn!("the lock on the database was lost, and is taken again"),
            Err(error) => {
                tracing::error!(%error, "the lock on the database is lost");
                return Err(CheckError::Lock(error));
            }
        }
        Ok(())
    }

    /// Fails when the database cannot be read, or cannot be written. Writes something only after a transaction that
    /// was not committed.
    pub(crate) async fn check(&self) -> std::result::Result<(), CheckError> {
        self.keep().await?;
        drop(self.read().await.map_err(CheckError::Read)?);
        if self.doubted.load(Ordering::Acquire) {
            self.probe().await.map_err(CheckError::Write)?;
        }
        Ok(())
    }

    async fn probe(&self) -> Result<()> {
        // Before the attempt: a write that fails meanwhile is doubted again.
        self.doubted.store(false, Ordering::Release);
        let mut tx = self.write(Touched::Nothing).await?;
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = $1",
        )
        .bind("x".repeat(PROBE_BYTES))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut tx = self.write(Touched::Nothing).await?;
        sqlx::query("DELETE FROM meta WHERE name = 'probe'")
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Waits for running statements and closes the database.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        match &self.writer {
            Writer::Queue(queue) => queue.close().await,
            Writer::Pool(pool) => pool.close().await,
        }
        self.guard.close().await;
    }

    /// The fingerprint of the pepper this database was made with; `None`: the database is new.
    pub(crate) async fn pepper_fingerprint(&self) -> Result<Option<String>> {
        tables::pepper_fingerprint(&mut *self.read().await?).await
    }

    pub(crate) async fn set_pepper_fingerprint(&self, fingerprint: &str) -> Result<()> {
        let mut tx = self.write(Touched::Nothing).await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('pepper', $1) ON CONFLICT (name) DO NOTHING")
            .bind(fingerprint)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn storage(dir: &tempfile::TempDir) -> Storage {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        Storage::open(
            &dir.path().join("cloudly.db").into(),
            Opening {
                longest_queue: 10,
                metrics: DatabaseMetrics::default(),
                now,
            },
        )
        .await
        .unwrap()
    }

    async fn insert(storage: &Storage, name: &str, value: &str) -> Result<()> {
        let mut tx = storage.write(Touched::Nothing).await?;
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
        let mut tx = storage.write(Touched::Nothing).await.unwrap();
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
        let mut tx = storage.write(Touched::Nothing).await.unwrap();
        sqlx::raw_sql("CREATE TEMP TABLE of_this_connection (x)")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        drop(storage.write(Touched::Nothing).await.unwrap());
        let mut tx = storage.write(Touched::Nothing).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM of_this_connection")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(count, 0);
    }
}
