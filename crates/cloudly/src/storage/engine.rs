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

    /// In backups and messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
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

    /// Begins a transaction in which everything is read as it was at its first read, beside those that write.
    pub(super) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA busy_timeout = 5000; PRAGMA query_only = 1; BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
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

    /// The columns of all tables, as the table's name, the column's, and `text` or `bigint`.
    pub(super) const fn columns(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT t.name, c.name, CASE c.type WHEN 'TEXT' THEN 'text' ELSE 'bigint' END
                 FROM sqlite_master t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND t.name <> 'sqlite_sequence' ORDER BY t.name, c.cid"
            }
            Self::Postgres => {
                "SELECT c.table_name::text, c.column_name::text, c.data_type::text
                 FROM information_schema.columns c
                     JOIN pg_tables t ON t.schemaname = c.table_schema AND t.tablename = c.table_name
                 WHERE c.table_schema = current_schema() ORDER BY c.table_name, c.ordinal_position"
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
