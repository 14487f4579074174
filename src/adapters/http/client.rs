//! Calls to one server.

use super::Body;
use super::answer::Answer;
use super::connect::Connector;
use super::connection::Sent;
use super::error::HttpError;
use super::idle::{Idle, Kept};
use super::limits::Limits;
use hyper::Request;
use std::sync::Arc;

pub(crate) struct Client {
    connector: Connector,
    idle: Arc<Idle>,
}

impl Client {
    pub(crate) fn new(connector: Connector, kept: Kept) -> Self {
        Self {
            connector,
            idle: Idle::new(kept),
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
