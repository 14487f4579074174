//! The agent as seen from the device: its local API on the Unix socket, and its state file.

use super::http::{Address, Response, call};
use super::{Error, Result};
use baseos_interfaces::local::{Doctor, Handshake, LocalStatus, Lock, LockRequest, Locks};
use std::path::{Path, PathBuf};

/// The agent's local API in a run directory: `api.sock`, and `token`, which is read anew for each call.
#[derive(Clone, Debug)]
pub struct Agent {
    run_dir: PathBuf,
}

impl Agent {
    /// The agent of this run directory ([`crate::device::Device::run_dir`]).
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
        }
    }

    /// Any call, with the token.
    ///
    /// # Errors
    /// When there is no answer or no token.
    pub async fn call(&self, method: &str, path: &str, body: Option<String>) -> Result<Response> {
        let file = self.run_dir.join("token");
        let token = std::fs::read_to_string(&file)
            .map_err(|error| Error::new(format!("{}: {error}", file.display())))?;
        let socket = Address::Unix(self.run_dir.join("api.sock"));
        call(&socket, method, path, Some(token.trim()), body).await
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
    /// When it is refused: the text has the status.
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
        let answer = self.call("DELETE", &format!("/v1/locks/{name}"), None).await?;
        if answer.is_success() {
            Ok(())
        } else {
            Err(Error::new(format!("{}: {}", answer.status, answer.body)))
        }
    }

    /// `GET /v1/locks`.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn locks(&self) -> Result<Locks> {
        self.call("GET", "/v1/locks", None).await?.json()
    }
}

/// `state.json` of a state directory ([`crate::device::Device::volume_dir`] with `baseos`).
///
/// # Errors
/// When it is not there or not JSON.
pub fn read_state(dir: &Path) -> Result<serde_json::Value> {
    let file = dir.join("state.json");
    let text =
        std::fs::read_to_string(&file).map_err(|error| Error::new(format!("{}: {error}", file.display())))?;
    Ok(serde_json::from_str(&text)?)
}
