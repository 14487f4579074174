//! A Cloudly that answers whatever the test wants, down to single bytes.

use crate::rig::mint;
use baseos_interfaces::Timestamp;
use baseos_interfaces::token::{Token, TokenKind};
use baseos_simulator::clock::{Clock, sleep, unix_millis};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
    /// Since the server was started.
    pub at: Duration,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes; the connection stays open.
    Raw(Vec<u8>),
    /// These bytes, and the connection is closed.
    Cut(Vec<u8>),
    /// These bytes first, then others again and again until the agent has had enough.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, one at a time.
    Drip(Vec<u8>, Duration),
    /// The connection is reset.
    Reset,
}

/// Any answer with a body.
pub fn raw(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Reply::Raw(bytes)
}

/// A JSON answer.
pub fn json_reply(status: &str, body: &Value) -> Reply {
    raw(status, "Content-Type: application/json\r\n", body.to_string())
}

/// Now, as the wire writes it.
pub fn now() -> String {
    Timestamp::from_millisecond(unix_millis()).unwrap().to_string()
}

/// The usual answer to a heartbeat, each second one.
pub fn orders() -> Value {
    json!({ "serverTime": now(), "nextHeartbeatSeconds": 1 })
}

type Script = Box<dyn FnMut(&Asked) -> Option<Reply> + Send>;

struct Inner {
    clock: Clock,
    asked: Mutex<Vec<Asked>>,
    script: Mutex<Script>,
    node_token: Token,
    connections: Mutex<usize>,
}

/// The server; ends with this.
pub struct Hostile {
    inner: Arc<Inner>,
    address: SocketAddr,
    task: JoinHandle<()>,
    pub join: Token,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hostile {
    /// One that behaves.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            clock: Clock::start(),
            asked: Mutex::default(),
            script: Mutex::new(Box::new(|_| None)),
            node_token: mint(TokenKind::Node),
            connections: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *locked(&serving.connections) += 1;
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self {
            inner,
            address,
            task,
            join: mint(TokenKind::Join),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token nodes get.
    pub fn node_token(&self) -> &Token {
        &self.inner.node_token
    }

    /// Decides what follows; `None` from it means good behaviour.
    pub fn script(&self, script: impl FnMut(&Asked) -> Option<Reply> + Send + 'static) {
        *locked(&self.inner.script) = Box::new(script);
    }

    /// Answers so on this path, whatever is asked.
    pub fn always(&self, path: &'static str, reply: Reply) {
        self.script(move |asked| asked.path.ends_with(path).then(|| reply.clone()));
    }

    pub fn behave(&self) {
        self.script(|_| None);
    }

    /// All requests, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.inner.asked).clone()
    }

    /// The heartbeats among them.
    pub fn beats(&self) -> Vec<Asked> {
        let mut all = self.asked();
        all.retain(|asked| asked.path.ends_with("/heartbeat"));
        all
    }

    pub fn connections(&self) -> usize {
        *locked(&self.inner.connections)
    }

    /// The time on the clock of [`Asked::at`].
    pub fn time(&self) -> Duration {
        self.inner.clock.now()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, inner: Arc<Inner>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(asked) = request(&mut read, &inner.clock).await {
        locked(&inner.asked).push(asked.clone());
        let scripted = locked(&inner.script)(&asked);
        let reply = scripted.unwrap_or_else(|| good(&asked, &inner.node_token));
        let done = match reply {
            Reply::Raw(bytes) => write.write_all(&bytes).await.is_err(),
            Reply::Cut(bytes) => {
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
            Reply::Drip(bytes, every) => {
                let mut open = true;
                for byte in bytes {
                    open = open && write.write_all(&[byte]).await.is_ok();
                    if !open {
                        break;
                    }
                    sleep(every).await;
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

async fn request(read: &mut BufReader<tokio::net::tcp::OwnedReadHalf>, clock: &Clock) -> Option<Asked> {
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
    Some(Asked {
        path,
        authorization,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        at: clock.now(),
    })
}

/// What a Cloudly that means well answers.
fn good(asked: &Asked, node_token: &Token) -> Reply {
    if asked.path.ends_with("/register") {
        let answer = json!({
            "nodeId": "node_hostile01", "nodeToken": node_token.expose(), "approval": "approved",
            "nextHeartbeatSeconds": 1, "limits": { "minHeartbeatSeconds": 1, "maxBodyBytes": 65536 },
            "serverTime": now(),
        });
        return json_reply("201 Created", &answer);
    }
    json_reply("200 OK", &orders())
}
