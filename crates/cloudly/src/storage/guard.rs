//! Keeps a second server away from the database, since each would hold half of the presence in memory, and sessions that
//! the other one changes.

use super::connection::{Connection, OpenError};
use super::{postgres, sqlite};
use sqlx::Connection as _;
use sqlx::any::AnyConnectOptions;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long a look at the lock may take, and taking it again.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

pub(super) enum Guard {
    File { _lock: sqlite::Lock },
    Session(Box<Session>),
}

/// A lock of PostgreSQL, which ends with the connection: also when the database is restarted, or another server takes over.
pub(super) struct Session {
    options: AnyConnectOptions,
    /// Its name in messages.
    database: String,
    held: Mutex<Held>,
}

enum Held {
    By(Connection),
    Lost,
    Closed,
}

impl Guard {
    pub(super) async fn session(options: &AnyConnectOptions, database: &str) -> Result<Self, OpenError> {
        let connection = postgres::lock(options, database).await?;
        Ok(Self::Session(Box::new(Session {
            options: options.clone(),
            database: database.to_owned(),
            held: Mutex::new(Held::By(connection)),
        })))
    }

    /// Takes the lock again if it was lost; then `true`.
    pub(super) async fn renew(&self) -> Result<bool, OpenError> {
        let Self::Session(session) = self else {
            return Ok(false);
        };
        let renewed = timeout(RENEWED_WITHIN, session.renew()).await;
        renewed.unwrap_or_else(|_| {
            Err(OpenError::Database {
                database: session.database.clone(),
                error: sqlx::Error::Io(ErrorKind::TimedOut.into()).into(),
            })
        })
    }

    pub(super) async fn close(&self) {
        if let Self::Session(session) = self
            && let Held::By(connection) = std::mem::replace(&mut *session.held.lock().await, Held::Closed)
        {
            // Its end ends the session, with or without an answer.
            drop(connection.close().await);
        }
    }
}

impl Session {
    async fn renew(&self) -> Result<bool, OpenError> {
        let mut held = self.held.lock().await;
        match std::mem::replace(&mut *held, Held::Lost) {
            Held::By(mut connection) => {
                if connection.ping().await.is_ok() {
                    *held = Held::By(connection);
                    return Ok(false);
                }
            }
            Held::Lost => {}
            Held::Closed => {
                *held = Held::Closed;
                return Ok(false);
            }
        }
        *held = Held::By(postgres::lock(&self.options, &self.database).await?);
        Ok(true)
    }
}
