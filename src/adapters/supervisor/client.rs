//! The requests of this adapter by kind of answer: JSON, acceptance, completion, a long text, an endless stream.

use super::http::{HttpClient, supervisor_error};
use super::request::Request;
use super::settings::{ConfigError, SupervisorSettings, Timeouts};
use crate::adapters::http::Answer;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A client of the local Supervisor. Without one configured, every call fails with `NotConfigured`. Clones share their
/// connections.
#[derive(Clone)]
pub struct SupervisorClient {
    http: Option<Arc<HttpClient>>,
}

impl SupervisorClient {
    /// Does not connect yet. `None`: no Supervisor is configured.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub fn new(settings: Option<SupervisorSettings>) -> Result<Self, ConfigError> {
        Self::with_timeouts(settings, Timeouts::default())
    }

    pub(crate) fn with_timeouts(
        settings: Option<SupervisorSettings>,
        timeouts: Timeouts,
    ) -> Result<Self, ConfigError> {
        let http = settings
            .map(|settings| HttpClient::new(settings, timeouts))
            .transpose()?;
        Ok(Self {
            http: http.map(Arc::new),
        })
    }

    pub(super) fn is_configured(&self) -> bool {
        self.http.is_some()
    }

    /// Time limit of a request that the Supervisor answers at once.
    pub(super) fn call_timeout(&self) -> Duration {
        self.http
            .as_ref()
            .map_or(Duration::ZERO, |http| http.timeouts().call)
    }

    /// The API key, for redacting texts; empty if no Supervisor is configured.
    pub(super) fn api_key(&self) -> &str {
        self.http.as_ref().map_or("", |http| http.api_key())
    }

    /// Sends a request and reads its answer as JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, SupervisorError> {
        let name = request.name();
        let http = self.http()?;
        let response = http.send(request, http.timeouts().call).await?;
        let body = http.body(response, &name).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let reason = http.line(&error.to_string());
            supervisor_error(
                SupervisorErrorKind::Garbage,
                format!("{name}: its answer cannot be read: {reason}"),
            )
        })
    }

    /// Sends a request that the Supervisor answers when it has accepted it.
    pub(super) async fn submit(&self, request: Request<'_>) -> Result<(), SupervisorError> {
        let http = self.http()?;
        http.send(request, http.timeouts().call).await.map(drop)
    }

    /// Sends a request that the Supervisor answers when the work is done.
    pub(super) async fn execute(&self, request: Request<'_>) -> Result<(), SupervisorError> {
        let http = self.http()?;
        http.send(request, http.timeouts().work).await.map(drop)
    }

    /// The last `keep` bytes of an answer, and whether it was longer. At most twice `keep` is held in memory.
    pub(super) async fn tail(
        &self,
        request: Request<'_>,
        keep: usize,
    ) -> Result<(Vec<u8>, bool), SupervisorError> {
        let name = request.name();
        let http = self.http()?;
        let mut response = http.send(request, http.timeouts().call).await?;
        let mut tail: VecDeque<u8> = VecDeque::new();
        let mut truncated = false;
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| http.connection_error(&name, &error))?
        {
            let skip = piece.len().saturating_sub(keep);
            let excess = (tail.len() + piece.len() - skip).saturating_sub(keep);
            tail.drain(..excess);
            tail.extend(&piece[skip..]);
            truncated |= skip > 0 || excess > 0;
        }
        Ok((tail.into(), truncated))
    }

    /// Opens an answer without an end; only its head has a timeout.
    pub(super) async fn open(&self, request: Request<'_>) -> Result<Answer, SupervisorError> {
        let timed_out = format!("{}: no answer in time", request.name());
        let http = self.http()?;
        let opened = timeout(http.timeouts().call, http.send(request, None)).await;
        opened.map_err(|_| supervisor_error(SupervisorErrorKind::Unavailable, timed_out))?
    }

    fn http(&self) -> Result<&HttpClient, SupervisorError> {
        self.http.as_deref().ok_or_else(|| {
            supervisor_error(
                SupervisorErrorKind::NotConfigured,
                "no Supervisor is configured: the service needs the label io.balena.features.supervisor-api=1"
                    .to_owned(),
            )
        })
    }
}
