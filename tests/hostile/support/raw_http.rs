//! Requests to the local API, byte by byte.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use baseos_simulator::harness::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// All that came; the status is that of the first answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

pub(crate) fn token(agent: &AgentProcess) -> String {
    agent.api().token().unwrap()
}

/// Tries again while the socket's queue is full.
pub(crate) async fn connect(agent: &AgentProcess) -> UnixStream {
    let socket = agent.api().socket();
    wait_until("a connection", LIMIT, async || {
        UnixStream::connect(&socket)
            .await
            .map_err(|error| error.to_string())
    })
    .await
    .unwrap()
}

/// Sends a request and reads until the agent closes the connection.
pub(crate) async fn send(agent: &AgentProcess, request: &[u8]) -> Answer {
    let (mut read, mut write) = connect(agent).await.into_split();
    // The agent may close the connection before it has read everything.
    let sent = write.write_all(request);
    let mut bytes = Vec::new();
    let received = tokio::time::timeout(LIMIT, read.read_to_end(&mut bytes));
    let (_, received) = tokio::join!(sent, received);
    assert!(
        received.is_ok(),
        "the connection stays open: {}",
        String::from_utf8_lossy(&bytes)
    );
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        text,
    }
}

/// A call by a client with this name.
pub(crate) async fn call_as(
    agent: &AgentProcess,
    client: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    let content_type = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {client}/1.0\r\nAuthorization: Bearer {}\r\n\
         {content_type}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        token(agent),
        body.len()
    );
    send(agent, request.as_bytes()).await
}
