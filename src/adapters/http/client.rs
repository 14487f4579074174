//! Calls to one server, and the connections that are kept for them.

use super::Body;
use super::answer::Answer;
use super::connect::Connector;
use super::connection::{Connection, Sent};
use super::error::HttpError;
use super::limits::{Limits, now};
use hyper::Request;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Client {
    connector: Connector,
    idle: Arc<Idle>,
}

/// How many idle connections are kept, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) at_most: usize,
    pub(crate) lifetime: Duration,
}

pub(super) struct Idle {
    kept: Kept,
    /// Those used last are at the end.
    connections: Mutex<Vec<(Instant, Connection)>>,
}

impl Client {
    pub(crate) fn new(connector: Connector, kept: Kept) -> Self {
        let idle = Idle {
            kept,
            connections: Mutex::default(),
        };
        Self {
            connector,
            idle: Arc::new(idle),
        }
    }

    /// Sends a request, whose URI is the complete URL, once.
    ///
    /// # Errors
    /// When there is no head of an answer. An answer with an error's status is `Ok`.
    pub(crate) async fn call(&self, mut request: Request<Body>, limits: Limits) -> Result<Answer, HttpError> {
        let clock = limits.begin();
        let uri = request.uri().clone();
        while let Some(mut connection) = self.idle.take() {
            match clock.step(connection.send(&uri, request)).await?? {
                Sent::Answered(answer) => {
                    return Ok(Answer::new(answer, connection, clock, self.idle.clone()));
                }
                Sent::Unsent(unsent) => request = unsent,
            }
        }
        let mut connection = self.connector.connect(&clock).await?;
        match clock.step(connection.send(&uri, request)).await?? {
            Sent::Answered(answer) => Ok(Answer::new(answer, connection, clock, self.idle.clone())),
            Sent::Unsent(_) => Err(HttpError::Closed),
        }
    }
}

impl Idle {
    /// The connection used last that is still open.
    fn take(&self) -> Option<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections
            .retain_mut(|(since, connection)| since.elapsed() < self.kept.lifetime && connection.is_ready());
        connections.pop().map(|(_, connection)| connection)
    }

    pub(super) fn keep(&self, connection: Connection) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() < self.kept.at_most {
            connections.push((now(), connection));
        }
    }
}
