//! The command line's client of the local API.

use baseos_interfaces::limits::ANSWER_MAX_BYTES;
use baseos_interfaces::problem::Problem;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// More than the 10 s after which the agent itself answers with a timeout.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("The agent is not running (no answer on {}).", .0.display())]
    NotRunning(PathBuf),
    /// The token file or the socket cannot be used, e.g. for lack of permission.
    #[error("Cannot {action} {}: {source}.", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("The agent does not answer within {0:?}.")]
    Timeout(Duration),
    #[error("The agent's answer is not understood: {0}.")]
    InvalidAnswer(String),
    /// The agent answered with a problem.
    #[error("{}", problem_text(.0))]
    Refused(Box<Problem>),
}

/// Title and detail. The title of a problem is a sentence or the beginning of one.
fn problem_text(problem: &Problem) -> String {
    let title = &problem.title;
    match &problem.detail {
        Some(detail) if title.ends_with('.') => format!("{title} {detail}"),
        Some(detail) => format!("{title}: {detail}"),
        None => title.clone(),
    }
}

/// Calls the agent that has this run directory.
pub(super) struct Client<'a> {
    run_dir: &'a Path,
}

impl<'a> Client<'a> {
    pub(super) fn new(run_dir: &'a Path) -> Self {
        Self { run_dir }
    }

    /// Checks that the agent answers.
    pub(super) async fn health(&self) -> Result<(), ClientError> {
        let request = request(Method::GET, "/v1/health", None, Bytes::new())?;
        with_timeout(HEALTH_TIMEOUT, self.send(request)).await.map(drop)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = request(Method::GET, path, Some(&self.token()?), Bytes::new())?;
        parse(&with_timeout(CALL_TIMEOUT, self.send(request)).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(invalid_answer)?;
        let request = request(Method::POST, path, Some(&self.token()?), body.into())?;
        parse(&with_timeout(CALL_TIMEOUT, self.send(request)).await?)
    }

    /// The current token. A missing token file means that no agent has run here.
    fn token(&self) -> Result<String, ClientError> {
        let path = self.run_dir.join("token");
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(ClientError::NotRunning(self.socket())),
            Err(source) => Err(ClientError::Io {
                action: "read",
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
                _ => ClientError::Io {
                    action: "connect to",
                    path: path.clone(),
                    source,
                },
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(invalid_answer)?;
        // The task ends when `sender` and the answer's body are dropped, which is when this function returns.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the agent ended");
            }
        });
        let answer = sender.send_request(request).await.map_err(invalid_answer)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES)
            .collect()
            .await
            .map_err(invalid_answer)?;
        let body = body.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::InvalidAnswer(format!("status {status} without a problem")),
        })
    }
}

async fn with_timeout<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or(Err(ClientError::Timeout(limit)))
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
    // Fails when the token file has characters that no header may have; they are not shown.
    builder
        .body(Full::new(body))
        .map_err(|_| ClientError::InvalidAnswer("the token file holds no token".to_owned()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(invalid_answer)
}

fn invalid_answer(error: impl std::fmt::Display) -> ClientError {
    ClientError::InvalidAnswer(error.to_string())
}
