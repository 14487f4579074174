//! An answer whose body is read piece by piece.

use super::connection::Connection;
use super::error::HttpError;
use super::idle::Idle;
use super::limits::Clock;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::{HeaderMap, Response, StatusCode};
use std::sync::Arc;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// `None`: the body has ended.
    connection: Option<Connection>,
    clock: Clock,
    idle: Arc<Idle>,
}

impl Answer {
    pub(super) fn new(
        answer: Response<Incoming>,
        connection: Connection,
        clock: Clock,
        idle: Arc<Idle>,
    ) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            connection: Some(connection),
            clock,
            idle,
        }
    }

    /// The length that the head announces, bytes; 0 if it announces none.
    pub(crate) fn announced(&self) -> u64 {
        self.body.size_hint().exact().unwrap_or(0)
    }

    /// The address of the proxy that the request was handed to; a tunnel is none.
    pub(crate) fn proxy(&self) -> Option<&str> {
        self.connection.as_ref()?.proxy()
    }

    /// The next piece of the body; `None` at its end. The connection is then kept for the next call.
    ///
    /// # Errors
    /// When the body breaks off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        while let Some(connection) = &mut self.connection {
            let frame = self.clock.step(connection.drive(self.body.frame())).await?;
            match frame.transpose()? {
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.idle.keep(connection);
                    }
                }
            }
        }
        Ok(None)
    }
}
