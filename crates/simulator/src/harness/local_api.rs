//! The agent's local API on its Unix socket.

use crate::harness::error::{Error, Result};
use crate::harness::http::{Address, Response, call};
use crate::harness::wait::wait_until;
use baseos_interfaces::local::{Doctor, Handshake, LocalStatus, Lock, LockRequest, Locks};
use std::path::PathBuf;
use std::time::Duration;

/// A client with the socket and the token of a run directory; reads the token for each call.
#[derive(Clone, Debug)]
pub struct LocalApi {
    run_dir: PathBuf,
}

impl LocalApi {
    /// For the agent with this run directory ([`crate::device::Device::run_dir`]).
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
        }
    }

    /// # Errors
    /// When there is no answer or no token.
    pub async fn call(&self, method: &str, path: &str, body: Option<String>) -> Result<Response> {
        let token = self.token()?;
        let socket = Address::Unix(self.socket());
        call(&socket, method, path, Some(&token), body).await
    }

    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("api.sock")
    }

    /// # Errors
    /// When the agent has not written one.
    pub fn token(&self) -> Result<String> {
        let file = self.run_dir.join("token");
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| Error::new(format!("{}: {error}", file.display())))?;
        Ok(text.trim().to_owned())
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn status(&self) -> Result<LocalStatus> {
        self.call("GET", "/v1/status", None).await?.json()
    }

    /// `GET /v1/handshake`.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn handshake(&self) -> Result<Handshake> {
        self.call("GET", "/v1/handshake", None).await?.json()
    }

    /// `GET /v1/doctor`.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn doctor(&self) -> Result<Doctor> {
        self.call("GET", "/v1/doctor", None).await?.json()
    }

    /// `PUT /v1/locks/{name}`.
    ///
    /// # Errors
    /// When it is refused; with the status.
    pub async fn lock(&self, name: &str, request: &LockRequest) -> Result<Lock> {
        let body = serde_json::to_string(request)?;
        self.call("PUT", &format!("/v1/locks/{name}"), Some(body))
            .await?
            .json()
    }

    /// `DELETE /v1/locks/{name}`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn unlock(&self, name: &str) -> Result<()> {
        let path = format!("/v1/locks/{name}");
        self.call("DELETE", &path, None).await?.success()
    }

    /// `GET /v1/locks`.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn locks(&self) -> Result<Locks> {
        self.call("GET", "/v1/locks", None).await?.json()
    }

    /// Waits until the agent's status fulfils a condition.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub async fn wait_status(
        &self,
        expected: &str,
        limit: Duration,
        condition: impl Fn(&LocalStatus) -> bool,
    ) -> Result<LocalStatus> {
        wait_until(expected, limit, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            if condition(&status) {
                Ok(status)
            } else {
                Err(format!("{}: {}", status.state, status.summary))
            }
        })
        .await
    }
}
