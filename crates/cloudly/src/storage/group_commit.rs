//! Group commit for SQLite: what is written at the same time is committed together, because a commit waits for the disk,
//! which takes as long as a hundred statements.
//!
//! One connection writes, and who wants to write waits in a queue for it. The first one begins a transaction and puts
//! its commit at the end of the queue. Everyone in between writes into the same transaction, one after the other and each
//! in a savepoint of its own, and is answered once it is committed. So a group is as large as the queue was long.

use super::connection::{Connection, Error, Result};
use super::session_cache::{SessionCache, Touched};
use super::sqlite;
use crate::metrics::DatabaseMetrics;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::any::AnyConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

/// How long somebody waits in the queue at most: another program may hold the database, for one.
const WAITING_AT_MOST: Duration = Duration::from_secs(10);

/// The queue for the connection that writes.
pub(super) struct WriteQueue {
    /// `None`: the database is closed.
    writer: Arc<Mutex<Option<Writer>>>,
    /// Those who wait in the queue at most. Who comes later is refused at once.
    longest: u32,
    sessions: Arc<SessionCache>,
    metrics: DatabaseMetrics,
}

/// The writer while somebody has it.
type Held = OwnedMappedMutexGuard<Option<Writer>, Writer>;

struct Writer {
    connection: Connection,
    options: AnyConnectOptions,
    phase: Phase,
}

enum Phase {
    Idle,
    /// The transaction is being begun or ended. Whoever finds it so finds a connection on which that failed.
    Uncertain,
    Open(Group),
}

/// The transaction that is open.
#[derive(Default)]
struct Group {
    /// Those whose changes are in it, or who read what is in it.
    members: Vec<Member>,
    /// Somebody's savepoint is open. Found by the next one: what is in it was given up.
    savepoint: bool,
    /// Why the transaction is lost.
    broken: Option<Arc<str>>,
}

struct Member {
    touched: Touched,
    answer: oneshot::Sender<Answer>,
}

/// What became of a transaction; else why it is lost.
type Answer = std::result::Result<(), Arc<str>>;

/// Somebody's turn at the connection. What was written is undone unless it is committed.
pub(super) struct Turn {
    writer: Held,
}

/// A place in the queue.
struct Place<'a>(&'a Gauge);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WriteQueue {
    pub(super) async fn open(
        options: AnyConnectOptions,
        longest: u32,
        sessions: Arc<SessionCache>,
        metrics: DatabaseMetrics,
    ) -> Result<Arc<Self>> {
        let writer = Writer {
            connection: connect(&options).await?,
            options,
            phase: Phase::Idle,
        };
        Ok(Arc::new(Self {
            writer: Arc::new(Mutex::new(Some(writer))),
            longest,
            sessions,
            metrics,
        }))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `Overloaded`, when too many wait already, or it takes too long.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<Turn> {
        let before = self.metrics.waiting.inc();
        let place = Place(&self.metrics.waiting);
        if before >= i64::from(self.longest) {
            return Err(Error::Overloaded);
        }
        let writer = timeout(WAITING_AT_MOST, Arc::clone(&self.writer).lock_owned())
            .await
            .map_err(|_| Error::Overloaded)?;
        drop(place);
        let writer = held(writer).ok_or_else(stopping)?;
        in_own_task(Arc::clone(self).begin(writer)).await
    }

    async fn begin(self: Arc<Self>, mut writer: Held) -> Result<Turn> {
        writer.settle().await?;
        if writer.begin().await? {
            tokio::spawn(self.commit());
        }
        writer.begin_savepoint().await?;
        Ok(Turn { writer })
    }

    /// Commits the open transaction, when its turn has come, and tells everyone.
    async fn commit(self: Arc<Self>) {
        // Who closes the database has committed it.
        if let Some(mut writer) = held(Arc::clone(&self.writer).lock_owned().await) {
            self.commit_group(&mut writer).await;
        }
    }

    async fn commit_group(&self, writer: &mut Writer) {
        let (members, committed) = writer.commit().await;
        self.metrics.commits.inc();
        for member in &members {
            // Also when it failed: then it may be committed all the same.
            self.sessions.forget(&member.touched);
        }
        for member in members {
            // Who is not there any more has given up waiting.
            let _ = member.answer.send(committed.clone());
        }
    }

    /// Waits for those in the queue, takes what is in the log (WAL) into the database, so that a copy of its file is whole, and
    /// lets go of the file.
    pub(super) async fn close(&self) {
        let Some(mut writer) = self.writer.lock().await.take() else {
            return;
        };
        if matches!(writer.phase, Phase::Open(_)) {
            self.commit_group(&mut writer).await;
        }
        let written = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer.connection);
        if let Err(error) = written.await {
            tracing::warn!(%error, "what was written last stays in the database's log (-wal)");
        }
        if let Err(error) = writer.connection.close().await {
            tracing::warn!(%error, "the database's file is let go of with the process");
        }
    }
}

fn held(writer: OwnedMutexGuard<Option<Writer>>) -> Option<Held> {
    OwnedMutexGuard::try_map(writer, Option::as_mut).ok()
}

fn stopping() -> Error {
    Error::Commit("the server is stopping".into())
}

impl Turn {
    pub(super) fn connection(&self) -> &Connection {
        &self.writer.connection
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.writer.connection
    }

    /// Commits what was written, together with what others wrote.
    pub(super) async fn commit(mut self, touched: Touched) -> Result<()> {
        let (answer, committed) = oneshot::channel();
        let member = Member { touched, answer };
        in_own_task(async move {
            self.writer.end_savepoint(member).await;
            Ok(())
        })
        .await?;
        until_committed(committed).await
    }

    /// Undoes what was written, and waits until what was read is stored: others may have written it just before, into the
    /// same transaction.
    pub(super) async fn rollback(mut self) -> Result<()> {
        let (answer, committed) = oneshot::channel();
        let touched = Touched::Nothing;
        if let Phase::Open(group) = &mut self.writer.phase {
            group.members.push(Member { touched, answer });
        }
        // The next one undoes it.
        drop(self.writer);
        until_committed(committed).await
    }
}

/// Goes on when it is given up: of statements that are given up it is not known whether they were executed.
pub(super) async fn in_own_task<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Commit(error.to_string().into())),
    }
}

async fn until_committed(answer: oneshot::Receiver<Answer>) -> Result<()> {
    match answer.await {
        Ok(committed) => committed.map_err(Error::Commit),
        Err(_) => Err(stopping()),
    }
}

impl Writer {
    /// Undoes what somebody has given up.
    async fn settle(&mut self) -> Result<()> {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Uncertain => {
                self.connection = connect(&self.options).await?;
                self.phase = Phase::Idle;
            }
            Phase::Open(group) => {
                if group.savepoint {
                    let undo = sqlx::raw_sql("ROLLBACK TO job; RELEASE job");
                    match undo.execute(&mut self.connection).await {
                        Ok(_) => group.savepoint = false,
                        // After some errors (a full disk, no memory) SQLite itself rolls back everything.
                        Err(error) => group.broken = Some(error.to_string().into()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins a transaction unless there is one; true: it was begun.
    async fn begin(&mut self) -> Result<bool> {
        match &self.phase {
            Phase::Open(Group {
                broken: Some(reason), ..
            }) => return Err(Error::Commit(Arc::clone(reason))),
            Phase::Open(_) => return Ok(false),
            Phase::Idle | Phase::Uncertain => {}
        }
        self.phase = Phase::Uncertain;
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        self.phase = Phase::Open(Group::default());
        Ok(true)
    }

    async fn begin_savepoint(&mut self) -> Result<()> {
        if let Phase::Open(group) = &mut self.phase {
            group.savepoint = true;
        }
        sqlx::raw_sql("SAVEPOINT job")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn end_savepoint(&mut self, member: Member) {
        let Phase::Open(group) = &mut self.phase else {
            return;
        };
        group.members.push(member);
        match sqlx::raw_sql("RELEASE job").execute(&mut self.connection).await {
            Ok(_) => group.savepoint = false,
            Err(error) => group.broken = Some(error.to_string().into()),
        }
    }

    /// Ends the transaction. Returns those whose changes were in it, and what became of them.
    async fn commit(&mut self) -> (Vec<Member>, Answer) {
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "the database cannot be opened again");
        }
        let Phase::Open(group) = std::mem::replace(&mut self.phase, Phase::Uncertain) else {
            return (Vec::new(), Ok(()));
        };
        let committed = match group.broken {
            Some(reason) => Err(reason),
            None => match sqlx::raw_sql("COMMIT").execute(&mut self.connection).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string().into()),
            },
        };
        if committed.is_ok() {
            self.phase = Phase::Idle;
        }
        (group.members, committed)
    }
}

async fn connect(options: &AnyConnectOptions) -> Result<Connection> {
    let mut connection = options.connect().await?;
    sqlite::prepare(&mut connection).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
