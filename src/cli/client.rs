//! The running agent, as its own command line sees it: a client of the local API.

use baseos_interfaces::limits::ANSWER_MAX_BYTES;
use baseos_interfaces::problem::Problem;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long a call may take. The agent gives up on itself after 10 s.
const CALL_WITHIN: Duration = Duration::from_secs(15);
/// How long the agent may take to show that it is there.
const HEALTH_WITHIN: Duration = Duration::from_secs(3);

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("The agent is not running (nobody answers on {}).", .0.display())]
    NotRunning(PathBuf),
    /// Somebody may listen, but this user may not ask.
    #[error("Cannot {what} {}: {source}.", .path.display())]
    Files {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The agent does not answer.
    #[error("The agent does not answer within {0:?}.")]
    Silent(Duration),
    /// What came was no answer.
    #[error("The agent's answer is not understood: {0}.")]
    Garbage(String),
    /// The agent said no.
    #[error("{}", said(.0))]
    Refused(Box<Problem>),
}

/// What was wrong and what would be right. Some problems are whole sentences, some are parts of one.
fn said(problem: &Problem) -> String {
    let title = &problem.title;
    match &problem.detail {
        Some(detail) if title.ends_with('.') => format!("{title} {detail}"),
        Some(detail) => format!("{title}: {detail}"),
        None => title.clone(),
    }
}

/// Asks the agent whose run directory this is.
pub(super) struct Client<'a> {
    run_dir: &'a Path,
}

impl<'a> Client<'a> {
    pub(super) fn new(run_dir: &'a Path) -> Self {
        Self { run_dir }
    }

    /// Whether the agent answers.
    pub(super) async fn health(&self) -> Result<(), ClientError> {
        let request = request(Method::GET, "/v1/health", None, Bytes::new())?;
        within(HEALTH_WITHIN, self.send(request)).await.map(drop)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = request(Method::GET, path, Some(&self.token()?), Bytes::new())?;
        parse(&within(CALL_WITHIN, self.send(request)).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(garbage)?;
        let request = request(Method::POST, path, Some(&self.token()?), body.into())?;
        parse(&within(CALL_WITHIN, self.send(request)).await?)
    }

    /// The present token. Without a token file there was never an agent here, so that is said.
    fn token(&self) -> Result<String, ClientError> {
        let path = self.run_dir.join("token");
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(ClientError::NotRunning(self.socket())),
            Err(source) => Err(ClientError::Files {
                what: "read",
                path,
                source,
            }),
        }
    }

    fn socket(&self) -> PathBuf {
        self.run_dir.join("api.sock")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ClientError> {
        let path = self.socket();
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(path.clone())
                }
                _ => ClientError::Files {
                    what: "connect to",
                    path: path.clone(),
                    source,
                },
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(garbage)?;
        // It ends with `sender` and the answer's body; both are gone when this returns.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the agent ended");
            }
        });
        let answer = sender.send_request(request).await.map_err(garbage)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES)
            .collect()
            .await
            .map_err(garbage)?;
        let body = body.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::Garbage(describe(status)),
        })
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or(Err(ClientError::Silent(limit)))
}

fn request(
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let agent = concat!("baserunner-cli/", env!("CARGO_PKG_VERSION"));
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "baserunner")
        .header(header::USER_AGENT, agent);
    if let Some(token) = token {
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    // Fails when the token file holds what no header may; the text is not repeated.
    builder
        .body(Full::new(body))
        .map_err(|_| ClientError::Garbage("the token file holds no token".to_owned()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(garbage)
}

fn garbage(error: impl std::fmt::Display) -> ClientError {
    ClientError::Garbage(error.to_string())
}

fn describe(status: StatusCode) -> String {
    format!("status {status} without a problem")
}
