//! The databases that the servers under test use.

use super::postgres;
use sqlx::{AnyConnection, Connection as _};
use std::path::Path;

#[derive(Clone, Copy)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The URL of a new database. A file is in `dir`.
    pub(crate) async fn new_database(self, dir: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", dir.join("cloudly.db").display()),
            Self::Postgres => postgres::new_database().await,
        }
    }
}

/// A connection beside the server's.
pub(crate) async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.unwrap()
}
