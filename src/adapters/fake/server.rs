//! An HTTP server that records requests and writes answers byte by byte, so that every fault of a network or a server
//! can be simulated.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

/// How the server answers.
pub(crate) enum Reply {
    /// Writes the bytes; the connection stays open.
    Bytes(Vec<u8>),
    /// Writes the bytes and closes the connection.
    Cut(Vec<u8>),
    /// Writes the first bytes, then the second ones repeatedly without a pause.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes the bytes, then one more byte per interval.
    Drip(Vec<u8>, Duration),
    /// Writes nothing; the connection stays open.
    Silence,
}

/// A running server; it stops with the test's runtime.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, answer).await
    }

    pub(crate) async fn listen(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (answer, requests, count) = (Arc::new(answer), seen.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, requests, tls) = (answer.clone(), requests.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &requests, &*answer).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &requests, &*answer).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self {
            address,
            seen,
            connections,
        }
    }

    /// A server that resets every connection on the first byte: closing it with unread data causes a reset.
    pub(crate) async fn resetting() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read_u8().await;
            }
        });
        address
    }

    /// An address that refuses connections.
    pub(crate) async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A complete answer with a body and its length.
pub(crate) fn http(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A complete JSON answer.
pub(crate) fn json(status: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    http(
        status,
        &[("content-type", "application/json; charset=utf-8")],
        body,
    )
}

/// Serves one connection; returns `None` when it has ended.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen) -> Reply + ?Sized),
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let seen = request(&mut stream, &mut buffer).await?;
        let reply = answer(&seen);
        requests.lock().unwrap().push(seen);
        match reply {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Reply::Endless(head, piece) => {
                stream.write_all(&head).await.ok()?;
                loop {
                    stream.write_all(&piece).await.ok()?;
                }
            }
            Reply::Drip(head, every) => {
                stream.write_all(&head).await.ok()?;
                let mut ticks = tokio::time::interval(every);
                loop {
                    ticks.tick().await;
                    stream.write_all(b" ").await.ok()?;
                }
            }
            Reply::Silence => std::future::pending().await,
        }
        stream.flush().await.ok()?;
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end + 4].to_vec()).unwrap();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = buffer.split_off(end + 4);
                *buffer = rest;
                return Some(Seen { head, body });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
