//! The connections that are kept for the next calls.

use super::connection::Connection;
use super::limits::now;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

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

impl Idle {
    pub(super) fn new(kept: Kept) -> Arc<Self> {
        Arc::new(Self {
            kept,
            connections: Mutex::default(),
        })
    }

    /// The connection used last that is still open.
    pub(super) fn take(&self) -> Option<Connection> {
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
