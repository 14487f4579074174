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
    #[error("another cloudly already uses the database {0}")]
    InUse(String),
    #[error("{0} is not a database of Cloudly")]
    NotOurs(String),
    #[error(
        "the database {database} has schema {found}, this cloudly knows up to {known}: run a newer cloudly"
    )]
    Newer {
        database: String,
        found: i64,
        known: i64,
    },
    #[error("the pepper in {} is not the one this database was made with, so no token would be accepted: restore it from the backup", .0.display())]
    Pepper(PathBuf),
    #[error("the database {database}: {error}")]
    Database { database: String, error: Error },
}
