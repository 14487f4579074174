//! A small HTTP client: one connection for each request, TCP or Unix socket, no TLS.

use crate::harness::error::{Error, Result};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// From `http://127.0.0.1:PORT`.
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

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    /// # Errors
    /// When the status is not 2xx; with status and body.
    pub fn success(&self) -> Result<()> {
        if (200..300).contains(&self.status) {
            return Ok(());
        }
        Err(Error::new(format!("answered {}: {}", self.status, self.body)))
    }

    /// The body of a 2xx answer.
    ///
    /// # Errors
    /// When the status is not 2xx, or the body is not of this form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.success()?;
        serde_json::from_str(&self.body).map_err(|error| Error::new(format!("{error} in: {}", self.body)))
    }
}

/// The client's name for the local API, which becomes the holder of a lock: `onebox`.
const LOCAL_USER_AGENT: &str = "onebox/1.0";

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// # Errors
/// When there is no answer within 30 seconds.
pub async fn call(
    address: &Address,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<String>,
) -> Result<Response> {
    let mut request = hyper::Request::builder().method(method).uri(path);
    request = match address {
        Address::Tcp(address) => request.header("host", address.to_string()),
        // The only name that the agent accepts.
        Address::Unix(_) => request
            .header("host", "localhost")
            .header("user-agent", LOCAL_USER_AGENT),
    };
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| Error::new(error.to_string()))?;
    let exchange = async {
        match address {
            Address::Tcp(address) => send(TcpStream::connect(address).await?, request).await,
            Address::Unix(file) => send(UnixStream::connect(file).await?, request).await,
        }
    };
    let what = format!("{method} {path}");
    match tokio::time::timeout(LIMIT, exchange).await {
        Ok(answer) => answer.map_err(|error| Error::new(format!("{what}: {error}"))),
        Err(_) => Err(Error::new(format!(
            "{what}: no answer within {} s",
            LIMIT.as_secs()
        ))),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<Bytes>>,
) -> Result<Response> {
    let failed = |error: hyper::Error| Error::new(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(failed)?.to_bytes();
        Ok::<_, Error>((status, body))
    };
    let mut exchange = pin!(exchange);
    // A request that is sent from another thread while the connection ends may stay in hyper's queue for ever. So both are
    // polled here, and after the end of the connection the answer is either there or will never come.
    let (status, body) = match select(exchange.as_mut(), pin!(connection)).await {
        Either::Left((result, _)) => result?,
        Either::Right((ended, _)) => match exchange.now_or_never() {
            Some(result) => result?,
            None => {
                ended.map_err(failed)?;
                return Err(Error::new("the connection was closed before the answer"));
            }
        },
    };
    Ok(Response {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
