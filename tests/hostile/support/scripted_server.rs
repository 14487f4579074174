//! An HTTP server whose answers the test decides, down to single bytes. Unless told otherwise it answers as Cloudly.

use crate::support::agent::mint;
use baseos_interfaces::Timestamp;
use baseos_interfaces::token::{Token, TokenKind};
use baseos_simulator::clock::{Clock, sleep, unix_millis};
use baseos_simulator::sync::lock;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The id that it gives to nodes.
pub(crate) const NODE_ID: &str = "node_hostile01";

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
    /// Since the start of the server.
    pub(crate) at: Duration,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends these bytes; the connection stays open.
    Raw(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Close(Vec<u8>),
    /// Sends the first bytes, then the second again and again until the agent closes the connection.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends one byte at a time, with this pause.
    Slow(Vec<u8>, Duration),
    /// Resets the connection.
    Reset,
}

/// An answer with a body; each header ends with CR LF.
pub(crate) fn raw(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Reply::Raw(bytes)
}

pub(crate) fn json_reply(status: &str, body: &Value) -> Reply {
    raw(status, "Content-Type: application/json\r\n", body.to_string())
}

/// The present time in the form of the wire.
pub(crate) fn now() -> String {
    Timestamp::from_millisecond(unix_millis()).unwrap().to_string()
}

/// The usual answer to a heartbeat: the next one in a second, nothing else.
pub(crate) fn heartbeat_answer() -> Value {
    json!({ "serverTime": now(), "nextHeartbeatSeconds": 1 })
}

type Script = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

struct Shared {
    clock: Clock,
    requests: Mutex<Vec<Request>>,
    script: Mutex<Script>,
    node_token: Token,
    connections: Mutex<usize>,
}

/// Ends when this is dropped.
pub(crate) struct ScriptedServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
    pub(crate) join_token: Token,
}

impl ScriptedServer {
    /// Answers as Cloudly.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            requests: Mutex::default(),
            script: Mutex::new(Box::new(|_| None)),
            node_token: mint(TokenKind::Node),
            connections: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *lock(&serving.connections) += 1;
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self {
            shared,
            address,
            task,
            join_token: mint(TokenKind::Join),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that it gives to nodes.
    pub(crate) fn node_token(&self) -> &Token {
        &self.shared.node_token
    }

    /// Decides the answers from now on; `None`: as Cloudly.
    pub(crate) fn set_script(&self, script: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Gives this answer to all requests whose path ends so.
    pub(crate) fn always_answer(&self, path: &'static str, reply: Reply) {
        self.set_script(move |request| request.path.ends_with(path).then(|| reply.clone()));
    }

    pub(crate) fn answer_as_cloudly(&self) {
        self.set_script(|_| None);
    }

    /// The requests whose path ends so, oldest first.
    fn requests(&self, path: &str) -> Vec<Request> {
        let mut requests = lock(&self.shared.requests).clone();
        requests.retain(|request| request.path.ends_with(path));
        requests
    }

    pub(crate) fn registrations(&self) -> Vec<Request> {
        self.requests("/register")
    }

    pub(crate) fn heartbeats(&self) -> Vec<Request> {
        self.requests("/heartbeat")
    }

    pub(crate) fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// The time on the clock of [`Request::at`].
    pub(crate) fn time(&self) -> Duration {
        self.shared.clock.now()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(request) = read_request(&mut read, &shared.clock).await {
        lock(&shared.requests).push(request.clone());
        let scripted = lock(&shared.script)(&request);
        let reply = scripted.unwrap_or_else(|| answer_as_cloudly(&request, &shared.node_token));
        let done = match reply {
            Reply::Raw(bytes) => write.write_all(&bytes).await.is_err(),
            Reply::Close(bytes) => {
                let _ = write.write_all(&bytes).await;
                true
            }
            Reply::Endless(head, piece) => {
                let mut open = write.write_all(&head).await.is_ok();
                while open {
                    open = write.write_all(&piece).await.is_ok();
                }
                true
            }
            Reply::Slow(bytes, pause) => {
                let mut open = true;
                for byte in bytes {
                    open = open && write.write_all(&[byte]).await.is_ok();
                    if !open {
                        break;
                    }
                    sleep(pause).await;
                }
                !open
            }
            Reply::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(write.as_ref(), Some(Duration::ZERO));
                true
            }
        };
        if done {
            return;
        }
    }
}

async fn read_request(
    read: &mut BufReader<tokio::net::tcp::OwnedReadHalf>,
    clock: &Clock,
) -> Option<Request> {
    let mut line = String::new();
    if read.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let path = line.split_whitespace().nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        line.clear();
        read.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.ok()?;
    Some(Request {
        path,
        authorization,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        at: clock.now(),
    })
}

fn answer_as_cloudly(request: &Request, node_token: &Token) -> Reply {
    if request.path.ends_with("/register") {
        let answer = json!({
            "nodeId": NODE_ID, "nodeToken": node_token.expose(), "approval": "approved",
            "nextHeartbeatSeconds": 1, "limits": { "minHeartbeatSeconds": 1, "maxBodyBytes": 65536 },
            "serverTime": now(),
        });
        return json_reply("201 Created", &answer);
    }
    json_reply("200 OK", &heartbeat_answer())
}
