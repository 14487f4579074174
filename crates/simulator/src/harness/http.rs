//! The smallest HTTP client that does: one request, one connection, TCP or Unix socket, no TLS.

use super::{Error, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `http://host:port`
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `http://127.0.0.1:PORT`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let address = rest
            .parse()
            .map_err(|_| Error::new(format!("`{url}` is not http://IP:PORT")))?;
        Ok(Self::Tcp(address))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body of a 2xx answer.
    ///
    /// # Errors
    /// When the status is another, or the body is not of that form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if !self.is_success() {
            return Err(Error::new(format!("answered {}: {}", self.status, self.body)));
        }
        serde_json::from_str(&self.body).map_err(|error| Error::new(format!("{error} in: {}", self.body)))
    }
}

/// What the local API is told of its client: a lock's holder reads `onebox`.
const LOCAL_CLIENT: &str = "onebox/1.0";

/// Makes a call; the answer has to be there within ten seconds.
///
/// # Errors
/// When there is no answer.
pub async fn call(
    address: &Address,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<String>,
) -> Result<Response> {
    let exchange = async {
        match address {
            Address::Tcp(tcp) => {
                send(
                    TcpStream::connect(tcp).await?,
                    &tcp.to_string(),
                    method,
                    path,
                    bearer,
                    body,
                )
                .await
            }
            // Any name reaches a Unix socket; `localhost` is the one the agent allows.
            Address::Unix(file) => {
                send(
                    UnixStream::connect(file).await?,
                    "localhost",
                    method,
                    path,
                    bearer,
                    body,
                )
                .await
            }
        }
    };
    let what = format!("{method} {path}");
    match tokio::time::timeout(Duration::from_secs(10), exchange).await {
        Ok(answer) => answer.map_err(|error| Error::new(format!("{what}: {error}"))),
        Err(_) => Err(Error::new(format!("{what}: no answer within 10 s"))),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<String>,
) -> Result<Response> {
    let failed = |error: hyper::Error| Error::new(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    if host == "localhost" {
        request = request.header("user-agent", LOCAL_CLIENT);
    }
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| Error::new(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(failed)?.to_bytes();
    connection.abort();
    Ok(Response {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
