//! A database that is filled from a backup: in one transaction, and a file beside the one whose place it takes, so that
//! nothing is changed until all of it is right.

use super::audit::{self, AuditLine};
use super::connection::{Connection, OpenError, Result, failed};
use super::engine::Engine;
use super::integrity::{self, Finding};
use super::tables::{self, Cell, Table};
use super::{migrate, postgres, replaced_file, sqlite};
use crate::clock::millis;
use crate::settings::Database;
use baseos_interfaces::Timestamp;
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::{Path, PathBuf};

/// How far a restore raises the number of the last revision: above every one that was issued since the backup, so that no
/// node has seen those that are issued from now on.
const REVISIONS_SKIPPED: i64 = 1_000_000;

pub(crate) struct Restore {
    connection: Connection,
    /// In messages.
    name: String,
    place: Place,
    pub(crate) tables: Vec<Table>,
    /// The version of the backup's schema.
    schema: i64,
}

enum Place {
    File {
        path: PathBuf,
        /// What is filled.
        beside: PathBuf,
        _lock: sqlite::Lock,
    },
    Server {
        _lock: Connection,
    },
}

/// What becomes of a backup beside its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    pub(crate) now: Timestamp,
    /// Its targets get revisions that no node has seen, so that all nodes follow them.
    pub(crate) apply_targets: bool,
}

impl Restore {
    /// Makes the tables of a schema, once it is certain that the database may be filled: it is empty or may be replaced,
    /// and nobody uses it.
    pub(crate) async fn begin(
        database: &Database,
        schema: i64,
        replace: bool,
        now: Timestamp,
    ) -> std::result::Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let name = database.to_string();
        let (mut connection, place) = match database {
            Database::Sqlite(path) => begin_file(path, &name, replace).await?,
            Database::Postgres(url) => {
                let options = postgres::options(url).map_err(failed(&name))?;
                let lock = postgres::lock(&options, &name).await?;
                let mut connection = options.connect().await.map_err(failed(&name))?;
                postgres::prepare(&mut connection).await.map_err(failed(&name))?;
                (connection, Place::Server { _lock: lock })
            }
        };
        let c = &mut connection;
        sqlx::raw_sql(Engine::of(c).begin())
            .execute(&mut *c)
            .await
            .map_err(failed(&name))?;
        if migrate::version(c, &name).await?.is_some() {
            if !replace {
                return Err(OpenError::NotEmpty(name));
            }
            let tables = tables::list(c).await.map_err(failed(&name))?;
            tables::drop_all(c, &tables).await.map_err(failed(&name))?;
        }
        migrate::apply(c, &name, None, schema, now).await?;
        let tables = tables::list(c).await.map_err(failed(&name))?;
        for table in &tables {
            tables::clear(c, table).await.map_err(failed(&name))?;
        }
        Ok(Self {
            connection,
            name,
            place,
            tables,
            schema,
        })
    }

    pub(crate) async fn insert(&mut self, table: &Table, rows: &[Vec<Cell>]) -> Result<()> {
        tables::insert(&mut self.connection, table, rows).await
    }

    pub(crate) async fn count(&mut self, table: &Table) -> Result<u64> {
        tables::count(&mut self.connection, table).await
    }

    pub(crate) async fn pepper_fingerprint(&mut self) -> Result<Option<String>> {
        tables::pepper_fingerprint(&mut self.connection).await
    }

    /// What is wrong in it.
    pub(crate) async fn findings(&mut self) -> Result<Vec<Finding>> {
        integrity::findings(&mut self.connection).await
    }

    /// Brings what was inserted up to date: its schema, and what has to be otherwise after a restore.
    pub(crate) async fn finish(
        &mut self,
        changes: Changes,
        line: &AuditLine,
    ) -> std::result::Result<(), OpenError> {
        let Self {
            connection: c,
            name,
            tables,
            schema,
            ..
        } = self;
        tables::continue_sequences(c, tables)
            .await
            .map_err(failed(name))?;
        let known = migrate::known(Engine::of(c));
        migrate::apply(c, name, Some(*schema), known, changes.now).await?;
        raise_revisions(c, changes.apply_targets)
            .await
            .map_err(failed(name))?;
        keep_uses(c, changes.now).await.map_err(failed(name))?;
        audit::append(c, changes.now, line).await.map_err(failed(name))
    }

    /// Puts it in its place. Returns the file that was there before, which is kept.
    pub(crate) async fn commit(mut self, now: Timestamp) -> std::result::Result<Option<PathBuf>, OpenError> {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await
            .map_err(failed(&self.name))?;
        self.connection.close().await.map_err(failed(&self.name))?;
        match &self.place {
            Place::Server { .. } => Ok(None),
            Place::File { path, beside, .. } => {
                replaced_file::replace(path, beside, now).map_err(|error| OpenError::Io {
                    path: path.clone(),
                    error,
                })
            }
        }
    }

    /// Leaves everything as it was.
    pub(crate) async fn abandon(self) -> std::result::Result<(), OpenError> {
        // Without a commit nothing of it is stored.
        self.connection.close().await.map_err(failed(&self.name))?;
        if let Place::File { beside, .. } = &self.place {
            replaced_file::remove(beside).map_err(|error| OpenError::Io {
                path: beside.clone(),
                error,
            })?;
        }
        Ok(())
    }
}

/// The engine of a database, and the first and the last schema of it that this cloudly knows.
pub(crate) fn known_schemas(database: &Database) -> (&'static str, i64, i64) {
    let engine = match database {
        Database::Sqlite(_) => Engine::Sqlite,
        Database::Postgres(_) => Engine::Postgres,
    };
    let first = engine.migrations().first().map_or(0, |(version, _)| *version);
    (engine.name(), first, migrate::known(engine))
}

async fn begin_file(
    path: &Path,
    name: &str,
    replace: bool,
) -> std::result::Result<(Connection, Place), OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    };
    let is_there = std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
    if is_there && !replace {
        return Err(OpenError::NotEmpty(name.to_owned()));
    }
    let lock = sqlite::lock_only(path)?;
    let beside = sqlite::named(path, ".restoring");
    // One that was broken off.
    replaced_file::remove(&beside).map_err(io(&beside))?;
    sqlite::create(&beside).map_err(io(&beside))?;
    let options = sqlite::options_for_existing(&beside).map_err(failed(name))?;
    let connection = options.connect().await.map_err(failed(name))?;
    let place = Place::File {
        path: path.to_owned(),
        beside,
        _lock: lock,
    };
    Ok((connection, place))
}

/// The next revision is above all that were issued since the backup: nodes that have seen one would take no lower one
/// (contract §4.1). They keep what they run until then, unless the targets of the backup are to be followed.
async fn raise_revisions(c: &mut Connection, targets_too: bool) -> Result<()> {
    let targets: &[_] = if targets_too {
        &[
            "UPDATE desired SET revision = revision + $1",
            "UPDATE nodes SET desired_floor = desired_floor + $1 WHERE desired_floor > 0",
        ]
    } else {
        &[]
    };
    let counter = "UPDATE counters SET value = value + $1 WHERE name = 'desired'";
    for statement in [counter].iter().chain(targets) {
        sqlx::query(*statement)
            .bind(REVISIONS_SKIPPED)
            .execute(&mut *c)
            .await?;
    }
    Ok(())
}

/// Uses of join tokens that waited for a first heartbeat wait anew: it may have come since the backup.
async fn keep_uses(c: &mut Connection, now: Timestamp) -> Result<()> {
    sqlx::query("UPDATE join_uses SET taken_at = $1 WHERE confirmed_at IS NULL AND released_at IS NULL")
        .bind(millis(now))
        .execute(c)
        .await?;
    Ok(())
}
