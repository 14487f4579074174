//! An HTTP proxy: tunnels (`CONNECT`) and forwarded requests, with and without a login.

use baseos_simulator::sync::lock;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Works,
    /// Works with the login `edge`, `p@ss w0rd`.
    WantsLogin,
    /// Answers 403 to everything.
    Refuses,
    /// Reads and never answers.
    Hangs,
    /// Closes each connection.
    Closes,
}

/// `edge:p@ss w0rd` in base64.
const LOGIN: &str = "Basic ZWRnZTpwQHNzIHcwcmQ=";

struct Shared {
    behaviour: Mutex<Behaviour>,
    /// First line of each request.
    requests: Mutex<Vec<String>>,
}

/// Ends when this is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, with a login if one is given.
    pub(crate) fn url(&self, login: &str) -> String {
        format!("http://{login}{}", self.address)
    }

    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// The first lines of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let behaviour = *lock(&shared.behaviour);
    if behaviour == Behaviour::Closes {
        return None;
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let first = head.lines().next()?.to_owned();
    lock(&shared.requests).push(first.clone());
    let login = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .starts_with("proxy-authorization:")
            .then(|| line["proxy-authorization:".len()..].trim().to_owned())
    });
    let refusal = match behaviour {
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::Refuses => Some("403 Forbidden"),
        Behaviour::WantsLogin if login.as_deref() != Some(LOGIN) => Some("407 Proxy Authentication Required"),
        Behaviour::Works | Behaviour::WantsLogin | Behaviour::Closes => None,
    };
    if let Some(status) = refusal {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n");
        client.write_all(answer.as_bytes()).await.ok()?;
        return None;
    }
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        let mut server = TcpStream::connect(target).await.ok()?;
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .ok()?;
        copy_bidirectional(&mut client, &mut server).await.ok()?;
        return Some(());
    }
    // A forwarded request: the path instead of the whole URL, without what is meant for the proxy.
    let rest = target.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut server = TcpStream::connect(host).await.ok()?;
    let headers = head
        .lines()
        .skip(1)
        .filter(|line| !line.to_ascii_lowercase().starts_with("proxy-"));
    let mut forwarded = format!("{method} /{path} HTTP/1.1\r\n");
    for header in headers {
        forwarded.push_str(header);
        forwarded.push_str("\r\n");
    }
    server.write_all(forwarded.as_bytes()).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
