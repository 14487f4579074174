//! The guard's calls to the Supervisor. It has a client of its own, far smaller than the agent's, for its memory budget.

use super::decide::{Look, Row};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;

/// Of a whole call.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Size limit of an answer, bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Never a valid key, because the Supervisor's keys are hexadecimal.
const INVALID_KEY: &str = "not-a-key";

/// How the Supervisor is reached.
pub struct SupervisorAddress {
    /// `http://HOST:PORT`
    pub address: String,
    pub key: SecretString,
}

pub(super) struct Supervisor {
    /// `HOST:PORT`
    authority: String,
    key: SecretString,
}

/// A failure, without URL and key.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("no connection: {0}")]
    Connection(String),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer cannot be read: {0}")]
    Answer(String),
}

/// `GET /v2/state/status`, as far as the guard reads it.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    containers: Vec<ContainerRow>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerRow {
    service_name: Option<String>,
    image_id: Option<u64>,
    container_id: Option<String>,
    status: Option<String>,
}

/// `GET /v2/local/target-state`, as far as the guard reads it.
#[derive(Deserialize)]
struct TargetState {
    state: State,
}

#[derive(Deserialize)]
struct State {
    local: Local,
}

#[derive(Deserialize)]
struct Local {
    #[serde(default)]
    apps: BTreeMap<String, App>,
}

#[derive(Deserialize)]
struct App {
    commit: Option<String>,
}

impl Supervisor {
    pub(super) fn new(address: SupervisorAddress) -> Self {
        let authority = address.address.trim().trim_start_matches("http://");
        Self {
            authority: authority.trim_end_matches('/').to_owned(),
            key: address.key,
        }
    }

    /// Which containers there are, and whether the Supervisor takes targets from this device at all.
    pub(super) async fn look(&self) -> Look {
        match self.try_look().await {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(%error, "the Supervisor does not answer");
                Look::Silent
            }
        }
    }

    async fn try_look(&self) -> Result<Look, CallError> {
        // A Supervisor that refuses a wrong key is managed; an unmanaged one asks for none.
        match self.call(Method::GET, "/v1/device", INVALID_KEY, None).await {
            Ok(_) => {}
            Err(CallError::Status(StatusCode::UNAUTHORIZED)) => return Ok(Look::Managed),
            Err(error) => return Err(error),
        }
        let body = self
            .call(Method::GET, "/v2/state/status", self.key.expose_secret(), None)
            .await?;
        let status: Status =
            serde_json::from_slice(&body).map_err(|error| CallError::Answer(error.to_string()))?;
        let rows = status.containers.into_iter().map(|row| Row {
            service: row.service_name.unwrap_or_default(),
            image_id: row.image_id.unwrap_or_default(),
            container_id: row.container_id.unwrap_or_default(),
            status: row.status.unwrap_or_default(),
        });
        Ok(Look::Seen(rows.collect()))
    }

    /// Whether the Supervisor has a release as its target: after a post whose answer was lost it is not posted again.
    pub(super) async fn has_target(&self, commit: &str) -> Result<bool, CallError> {
        let path = "/v2/local/target-state";
        let body = self
            .call(Method::GET, path, self.key.expose_secret(), None)
            .await?;
        let target: TargetState =
            serde_json::from_slice(&body).map_err(|error| CallError::Answer(error.to_string()))?;
        let mut apps = target.state.local.apps.values();
        Ok(apps.any(|app| app.commit.as_deref() == Some(commit)))
    }

    /// Posts a local target.
    pub(super) async fn post(&self, target: &Value) -> Result<(), CallError> {
        let body = serde_json::to_vec(target).map_err(|error| CallError::Answer(error.to_string()))?;
        let path = "/v2/local/target-state";
        self.call(Method::POST, path, self.key.expose_secret(), Some(body))
            .await
            .map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, CallError> {
        let call = self.send(method, path, key, body.unwrap_or_default());
        tokio::time::timeout(TIMEOUT, call)
            .await
            .map_err(|_| CallError::Timeout)?
    }

    async fn send(&self, method: Method, path: &str, key: &str, body: Vec<u8>) -> Result<Bytes, CallError> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|error| CallError::Connection(error.kind().to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?apikey={key}"))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            // Not its text: it may quote the URL, which has the key.
            .map_err(|_| CallError::Answer("the request is not valid HTTP".to_owned()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES)
                .collect()
                .await;
            if !status.is_success() {
                return Err(CallError::Status(status));
            }
            body.map(|body| body.to_bytes())
                .map_err(|error| CallError::Answer(error.to_string()))
        };
        // The connection does the work; it ends when the answer is read or the peer closes.
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended.map_err(failed)?;
                exchange.await
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn failed(error: hyper::Error) -> CallError {
    CallError::Connection(error.to_string())
}
