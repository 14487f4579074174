//! The local API byte by byte.

use crate::rig::{Rig, SOON};
use baseos_simulator::harness::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// An answer as it came; of several, the first one's status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

/// The token of the running agent.
pub fn token(rig: &Rig) -> String {
    let text = std::fs::read_to_string(rig.run_dir().join("token")).unwrap();
    text.trim().to_owned()
}

/// A connection; the queue may be full for a moment.
pub async fn connect(rig: &Rig) -> UnixStream {
    let socket = rig.run_dir().join("api.sock");
    wait_until("a connection", SOON, async || {
        UnixStream::connect(&socket)
            .await
            .map_err(|error| error.to_string())
    })
    .await
    .unwrap()
}

/// Sends, and reads until the agent closes.
pub async fn exchange(rig: &Rig, request: &[u8]) -> Answer {
    let (mut read, mut write) = connect(rig).await.into_split();
    // The agent may close before it has all of it.
    let sent = write.write_all(request);
    let mut bytes = Vec::new();
    let received = tokio::time::timeout(SOON, read.read_to_end(&mut bytes));
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

/// A call as some program makes it.
pub async fn call_as(rig: &Rig, who: &str, method: &str, path: &str, body: &str) -> Answer {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {who}/1.0\r\nAuthorization: Bearer {}\r\n\
         {kind}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        token(rig),
        body.len()
    );
    exchange(rig, request.as_bytes()).await
}
