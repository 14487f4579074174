//! The agent's local API: HTTP/JSON on a Unix socket, for Onebox and for people at the device (contract §6).
//!
//! This adapter authenticates and reads requests and writes answers. The machine decides: a call becomes
//! [`Event::LocalRequested`], its answer comes back as [`Effect::Reply`]. Only the secret of a join token does not
//! pass through the machine; it is stored in the vault.
//!
//! There is one token for all clients, so a client's name is not authenticated: the owner of a lock is the product
//! name of the `User-Agent` (`onebox/1.2` is `onebox`), for display. Access is controlled by the permissions of the
//! socket and of the token file.

mod accept;
mod answer;
mod body;
mod guard;
mod held;
mod listen;
mod notices;
mod pending;
mod routes;
#[cfg(test)]
mod tests;

pub use listen::BindError;
pub use routes::NewRegistrationId;

use crate::lifecycle::effect::Effect;
use crate::lifecycle::event::Event;
use crate::vault::Vault;
use accept::Slots;
use axum::Router;
use baseos_interfaces::token::{Token, TokenKind};
use futures_util::Stream;
use guard::Guards;
use listen::{SocketFile, Sources};
use notices::Notices;
use pending::Pending;
use routes::Api;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Capacity of the queue to the runtime: more than the limit of connections, each of which has one request.
const REQUESTS: usize = 64;
/// Time limit for open answers when the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Fills its argument with random bytes from a cryptographic source.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Settings of the local API.
pub struct LocalApiSettings {
    /// Path of the Unix socket, mode 0660; its directory is created with mode 0750 if it is missing.
    pub socket: PathBuf,
    /// An additional TCP address, for a client without access to the socket.
    pub tcp: Option<SocketAddr>,
    /// Path of the token file, mode 0640; the token is new at each start.
    pub token_file: PathBuf,
    /// Accepted `Host` names besides `localhost`, `baserunner`, loopback addresses and the address in `tcp`.
    pub allowed_hosts: Vec<String>,
    /// Source of the token.
    pub entropy: Entropy,
    /// Called once for each offered join token.
    pub new_registration_id: NewRegistrationId,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The local API, bound but not yet serving.
pub struct LocalApi {
    sources: Sources,
    router: Router,
    pending: Arc<Pending>,
    notices: Arc<Notices>,
    requests: Option<mpsc::Receiver<Event>>,
    stop: CancellationToken,
    tcp: Option<SocketAddr>,
    socket_file: SocketFile,
}

impl fmt::Debug for LocalApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalApi")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl LocalApi {
    /// Binds the socket (replacing that of an ended agent) and writes a new token. Must be called in a tokio runtime.
    /// Clients that connect wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// When another agent listens on the socket, or a file cannot be created, or an address cannot be bound.
    pub fn bind(settings: LocalApiSettings, vault: Arc<dyn Vault>) -> Result<Self, BindError> {
        let LocalApiSettings {
            socket,
            tcp,
            token_file,
            mut allowed_hosts,
            entropy,
            new_registration_id,
            metrics,
        } = settings;
        let (sources, socket_file) = Sources::bind(&socket, tcp)?;
        let tcp = sources.tcp_address();
        // An IP address cannot be rebound by DNS, so it is a safe `Host`.
        let named = tcp.filter(|address| !address.ip().is_unspecified());
        allowed_hosts.extend(named.map(|address| match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }));
        let token = Token::mint(TokenKind::Local, |bytes| entropy(bytes));
        // After binding: a second agent fails above and must not replace the token of the running one.
        listen::write_token(&token_file, &token)?;

        let stop = CancellationToken::new();
        let (sender, requests) = mpsc::channel(REQUESTS);
        let pending = Arc::new(Pending::new(sender));
        let run = run_name(&entropy);
        let notices = Arc::new(Notices::new(run.clone()));
        let api = Api {
            pending: pending.clone(),
            notices: notices.clone(),
            vault,
            new_registration_id,
            metrics,
            stop: stop.clone(),
        };
        let router = routes::router(api, Guards::new(run, token, allowed_hosts));
        Ok(Self {
            sources,
            router,
            pending,
            notices,
            requests: Some(requests),
            stop,
            tcp,
            socket_file,
        })
    }

    /// The TCP address it listens on, with the real port if 0 was configured.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The requests of clients, as a source of the bus. If it is never called, [`Self::serve`] sends them to `events`.
    /// A second call returns an empty stream.
    pub fn requests(&mut self) -> impl Stream<Item = Event> + Send + use<> {
        let requests = self.requests.take().unwrap_or_else(|| mpsc::channel(1).1);
        ReceiverStream::new(requests)
    }

    /// Serves until the mailbox closes. Then event streams end, open requests are answered with 503, and the
    /// socket file is removed.
    pub async fn serve(self, mut mailbox: mpsc::Receiver<Effect>, events: mpsc::Sender<Event>) {
        let Self {
            sources,
            router,
            pending,
            notices,
            requests,
            stop,
            tcp: _,
            socket_file,
        } = self;
        let tasks = TaskTracker::new();
        sources.spawn(&tasks, &router, &Arc::new(Slots::default()), &stop);
        if let Some(requests) = requests {
            // A separate task, so that a full `events` does not block the mailbox.
            tasks.spawn(forward(requests, events, stop.clone()));
        }
        while let Some(effect) = mailbox.recv().await {
            perform(effect, &pending, &notices);
        }
        stop.cancel();
        pending.close();
        tasks.close();
        if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
            tracing::debug!("connections of the local API were still open when the agent stopped");
        }
        drop(socket_file);
    }
}

fn perform(effect: Effect, pending: &Pending, notices: &Notices) {
    match effect {
        Effect::Reply { request, answer } => pending.reply(request, *answer),
        Effect::Publish { notice } => notices.publish(&notice),
        other => tracing::error!(
            effect = other.name(),
            "an effect of another port came to the local API"
        ),
    }
}

async fn forward(mut requests: mpsc::Receiver<Event>, events: mpsc::Sender<Event>, stop: CancellationToken) {
    let forward = async {
        while let Some(event) = requests.recv().await {
            if events.send(event).await.is_err() {
                // No answers will come; when `requests` is dropped, clients get an error at once.
                break;
            }
        }
    };
    stop.run_until_cancelled(forward).await;
}

/// A prefix that makes request and notice ids of this run distinct from those of other runs.
fn run_name(entropy: &Entropy) -> String {
    let mut bytes = [0; 4];
    entropy(&mut bytes);
    format!("{:08x}", u32::from_be_bytes(bytes))
}
