//! The API as a client meets it: over a real socket, in this process, with time that only moves when all wait.

mod calls;
mod crowd;
mod files;
mod guards;
mod stream;

use super::*;
use crate::lifecycle::effect::{LocalAnswer, RequestId};
use crate::lifecycle::event::LocalCall;
use crate::vault::VaultError;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Remembers what it was offered; fails when told to.
#[derive(Default)]
struct FakeVault {
    offered: Mutex<Vec<String>>,
    full: bool,
}

impl Vault for FakeVault {
    fn node_token(&self) -> Option<Token> {
        None
    }
    fn node_id(&self) -> Option<String> {
        None
    }
    fn store_node_token(&self, _: &Token, _: &str) -> Result<(), VaultError> {
        Ok(())
    }
    fn store_next_token(&self, _: &Token) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_accepted(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_refused(&self, _: &TokenId) {}
    fn join_token(&self, _: &TokenId) -> Option<Token> {
        None
    }
    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError> {
        if self.full {
            return Err(VaultError("no space left".to_owned()));
        }
        self.offered.lock().unwrap().push(token.expose().to_owned());
        Ok(())
    }
    fn forget_join_token(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
}

/// Different numbers in each call and each test process; nobody's secret.
fn entropy() -> Entropy {
    static SEED: AtomicU64 = AtomicU64::new(1);
    Arc::new(|bytes| {
        let mut next = SEED
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in bytes {
            next = next
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (next >> 56) as u8;
        }
    })
}

fn settings(dir: &Path) -> LocalApiSettings {
    LocalApiSettings {
        socket: dir.join("run/api.sock"),
        tcp: None,
        token_file: dir.join("run/token"),
        allowed_hosts: vec!["edge.example".to_owned()],
        entropy: entropy(),
        new_registration_id: Arc::new(|| RegistrationId::new(0, [7; 16])),
        metrics: Arc::new(|| "# EOF\n".to_owned()),
    }
}

/// A served API with the test as the machine.
struct Agent {
    dir: TempDir,
    vault: Arc<FakeVault>,
    pending: Arc<Pending>,
    mailbox: mpsc::Sender<Effect>,
    events: mpsc::Receiver<Event>,
    served: JoinHandle<()>,
    tcp: Option<SocketAddr>,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Agent {
    fn start() -> Self {
        Self::start_with(FakeVault::default(), None)
    }

    fn start_with(vault: FakeVault, tcp: Option<SocketAddr>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(vault);
        let api = LocalApi::bind(
            LocalApiSettings {
                tcp,
                ..settings(dir.path())
            },
            vault.clone(),
        )
        .unwrap();
        let (pending, tcp) = (api.pending.clone(), api.tcp_address());
        let (mailbox, effects) = mpsc::channel(64);
        let (events_to, events) = mpsc::channel(64);
        let served = tokio::spawn(api.serve(effects, events_to));
        Self {
            dir,
            vault,
            pending,
            mailbox,
            events,
            served,
            tcp,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/api.sock")
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("run/token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Sends these bytes and reads until the agent closes.
    async fn raw(&self, request: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Reply::parse(&read_all(&mut stream).await)
    }

    /// The text of a request with the right host and token.
    fn request(&self, call: &str, headers: &str, body: &str) -> String {
        let token = self.token();
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        format!(
            "{call} HTTP/1.1\r\nHost: baserunner\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             {headers}{length}\r\n{body}"
        )
    }

    async fn call(&self, call: &str, headers: &str, body: &str) -> Reply {
        self.raw(&self.request(call, headers, body)).await
    }

    async fn json_call(&self, call: &str, body: &str) -> Reply {
        self.call(call, "Content-Type: application/json\r\n", body).await
    }

    /// The next request, as the machine gets it.
    async fn asked(&mut self) -> (RequestId, LocalCall) {
        match self.events.recv().await.unwrap() {
            Event::LocalRequested { request, call } => (request, call),
            other => panic!("{other:?}"),
        }
    }

    async fn reply(&self, request: RequestId, answer: LocalAnswer) {
        self.mailbox
            .send(Effect::Reply {
                request,
                answer: Box::new(answer),
            })
            .await
            .unwrap();
    }

    /// One call, answered by this; also what the machine was asked.
    async fn exchange(&mut self, request: String, answer: LocalAnswer) -> (LocalCall, Reply) {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let (id, call) = self.asked().await;
        self.reply(id, answer).await;
        (call, Reply::parse(&read_all(&mut stream).await))
    }
}

async fn read_all(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    // A peer that closes with our bytes unread resets; what it said before has arrived all the same.
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        text.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(text).unwrap()
}

/// Lets the other tasks go on until this holds.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to hold");
}
