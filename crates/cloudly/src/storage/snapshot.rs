//! A whole database as it is at one moment, read beside the server that uses it.

use super::connection::{Connection, Error, OpenError, Result, failed};
use super::engine::Engine;
use super::integrity::{self, Finding};
use super::tables::{self, Cell, Table};
use super::{migrate, postgres, sqlite};
use crate::settings::Database;
use futures_util::TryStreamExt as _;
use sqlx::ConnectOptions as _;
use sqlx::any::AnyConnectOptions;

pub(crate) struct Snapshot {
    connection: Connection,
    /// The version of its schema.
    pub(crate) schema: i64,
    pub(crate) tables: Vec<Table>,
}

impl Snapshot {
    /// Changes nothing, and keeps no server waiting.
    pub(crate) async fn open(database: &Database) -> std::result::Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let name = database.to_string();
        match database {
            Database::Sqlite(path) => {
                if !path.exists() {
                    return Err(OpenError::Missing(name));
                }
                let options = sqlite::options_for_existing(path).map_err(failed(&name))?;
                let opened = Self::begin(&options, &name).await;
                opened.map_err(|error| sqlite::open_error(path, error))
            }
            Database::Postgres(url) => {
                let options = postgres::options(url).map_err(failed(&name))?;
                Self::begin(&options, &name).await
            }
        }
    }

    /// The same of a database whose schema is the one of this cloudly.
    pub(crate) async fn open_present(database: &Database) -> std::result::Result<Self, OpenError> {
        let snapshot = Self::open(database).await?;
        let known = migrate::known(Engine::of(&snapshot.connection));
        if snapshot.schema == known {
            return Ok(snapshot);
        }
        Err(OpenError::Older {
            database: database.to_string(),
            found: snapshot.schema,
            known,
        })
    }

    async fn begin(options: &AnyConnectOptions, name: &str) -> std::result::Result<Self, OpenError> {
        let mut connection = options.connect().await.map_err(failed(name))?;
        let c = &mut connection;
        // It ends with the connection.
        sqlx::raw_sql(Engine::of(c).begin_snapshot())
            .execute(&mut *c)
            .await
            .map_err(failed(name))?;
        let schema = migrate::version(c, name).await?;
        let schema = schema.ok_or_else(|| OpenError::Missing(name.to_owned()))?;
        let tables = tables::list(c).await.map_err(failed(name))?;
        Ok(Self {
            connection,
            schema,
            tables,
        })
    }

    pub(crate) fn engine(&self) -> &'static str {
        Engine::of(&self.connection).name()
    }

    /// Hands on the rows of a table, one after the other.
    pub(crate) async fn rows<E: From<Error>>(
        &mut self,
        table: &Table,
        mut each: impl FnMut(&[Cell]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut rows = sqlx::query(tables::select(table)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(Error::from)? {
            each(&tables::cells(table, &row)?)?;
        }
        Ok(())
    }

    /// The fingerprint of the pepper it was made with, if a server has used it.
    pub(crate) async fn pepper_fingerprint(&mut self) -> Result<Option<String>> {
        tables::pepper_fingerprint(&mut self.connection).await
    }

    /// What is wrong in it.
    pub(crate) async fn findings(&mut self) -> Result<Vec<Finding>> {
        integrity::findings(&mut self.connection).await
    }
}
