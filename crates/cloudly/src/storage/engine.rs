//! What differs between SQLite and PostgreSQL. Everything else in this directory is written once.

use super::columns::text;
use super::connection::{Connection, Result};
use super::{postgres, sqlite};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// A migration's version, which is the same in both engines, and its statements.
pub(super) type Migration = (i64, &'static str);

/// In order of their versions.
const SQLITE: &[Migration] = &[
    (1, include_str!("../../migrations/sqlite/0001_nodes.sql")),
    (2, include_str!("../../migrations/sqlite/0002_runs.sql")),
    (3, include_str!("../../migrations/sqlite/0003_replacements.sql")),
    (4, include_str!("../../migrations/sqlite/0004_retention.sql")),
];
/// PostgreSQL came with version 2.
const POSTGRES: &[Migration] = &[
    (2, include_str!("../../migrations/postgres/0002_nodes.sql")),
    (3, include_str!("../../migrations/postgres/0003_replacements.sql")),
    (4, include_str!("../../migrations/postgres/0004_retention.sql")),
];

impl Engine {
    pub(super) fn of(connection: &Connection) -> Self {
        if connection.backend_name() == "PostgreSQL" {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }

    /// Sets up a new connection.
    pub(super) async fn prepare(self, connection: &mut Connection) -> sqlx::Result<()> {
        match self {
            Self::Sqlite => sqlite::prepare(connection).await,
            Self::Postgres => postgres::prepare(connection).await,
        }
    }

    /// Begins a transaction that writes. SQLite has one at a time; PostgreSQL has many, which lock rows
    /// ([`super::locks`]).
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    pub(super) const fn migrations(self) -> &'static [Migration] {
        match self {
            Self::Sqlite => SQLITE,
            Self::Postgres => POSTGRES,
        }
    }

    /// The names of all tables.
    pub(super) const fn tables(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Self::Postgres => {
                "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema()"
            }
        }
    }

    /// Each service of each release, as `commit_id`, `service` (a document), `image` and the release's `sequence`.
    pub(super) const fn services(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT r.commit_id, r.sequence, s.value AS service, json_extract(s.value, '$.image') AS image
                 FROM releases r, json_each(r.document, '$.services') s"
            }
            Self::Postgres => {
                "SELECT r.commit_id, r.sequence, s.value::text AS service, s.value ->> 'image' AS image
                 FROM releases r, json_each(r.document::json -> 'services') s"
            }
        }
    }

    /// Runs what only PostgreSQL needs.
    pub(super) async fn only_postgres(
        connection: &mut Connection,
        statement: &'static str,
        argument: Option<&str>,
    ) -> Result<()> {
        if Self::of(connection) == Self::Postgres {
            let mut query = sqlx::query(statement);
            if let Some(argument) = argument {
                query = query.bind(text(argument));
            }
            query.execute(connection).await?;
        }
        Ok(())
    }
}
