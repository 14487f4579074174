//! A connection to either database, and what can go wrong with one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) type Connection = sqlx::AnyConnection;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// As far as is known nothing of it is stored.
    #[error("the changes could not be committed: {0}")]
    Commit(Arc<str>),
    #[error("too many changes wait to be written")]
    Overloaded,
}

impl Error {
    /// Whether the same may succeed later. What cannot be read or written as it is, never does.
    pub(crate) fn is_transient(&self) -> bool {
        use sqlx::Error as Sql;
        !matches!(
            self,
            Self::Sql(
                Sql::Decode(_)
                    | Sql::Encode(_)
                    | Sql::ColumnDecode { .. }
                    | Sql::ColumnNotFound(_)
                    | Sql::ColumnIndexOutOfBounds { .. }
                    | Sql::TypeNotFound { .. }
                    | Sql::RowNotFound
            )
        )
    }
}

/// Why a database cannot be used. A `database` is a file, or an address without a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the database {} for writing: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("cannot open the database {}: make the directory first: `install -d -m 700 {}`", path.display(), directory.display())]
    NoDirectory { path: PathBuf, directory: PathBuf },
    #[error(
        "another cloudly already uses the database {0}: stop it, or give this one another with --database-url"
    )]
    InUse(String),
    #[error(
        "{0} is not a database of Cloudly: give it one of its own with --database-url; a new file is made"
    )]
    NotOurs(String),
    #[error(
        "the database {database} has schema {found}, this cloudly knows up to {known}: run a newer cloudly"
    )]
    Newer {
        database: String,
        found: i64,
        known: i64,
    },
    #[error(
        "the database {database} has schema {found}, and this cloudly checks schema {known}: start the new server once, or use \
         the cloudly that runs"
    )]
    Older {
        database: String,
        found: i64,
        known: i64,
    },
    #[error(
        "there is no database of Cloudly at {0}: give the one of the server with --database-url (CLOUDLY_DATABASE_URL)"
    )]
    Missing(String),
    #[error(
        "the database {0} is not empty: restore into a new one, or say --replace to put the backup in its place"
    )]
    NotEmpty(String),
    #[error("the pepper in {} is not the one this database was made with, so no token would be accepted: restore it from the backup", .0.display())]
    Pepper(PathBuf),
    #[error("the database {database}: {error}")]
    Database { database: String, error: Error },
}

/// An error of the database that is called this in messages.
pub(super) fn failed<E: Into<Error>>(database: &str) -> impl Fn(E) -> OpenError {
    move |error| OpenError::Database {
        database: database.to_owned(),
        error: error.into(),
    }
}
