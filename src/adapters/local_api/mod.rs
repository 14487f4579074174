//! The agent's local API: HTTP/JSON on a Unix socket, for Onebox and for people at the device (contract §6).
//!
//! This adapter guards the door, reads requests and writes answers. What a request means is decided by the
//! machine: a call becomes [`Event::LocalRequested`], its answer comes back as [`Effect::Reply`]. The only thing
//! that stays here is a join token's secret, which goes straight to the vault.
//!
//! One token opens everything, so a client says who it is but does not prove it: the owner of a lock is the
//! product name of its `User-Agent` (`onebox/1.2` is `onebox`), for people to read. Who may use the API at all is
//! decided by who can reach the socket and read the token file.

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

/// Requests that wait to be taken off by the runtime. More than there can be at once: one a connection.
const REQUESTS: usize = 64;
/// How long answers under way may take once the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Fills its argument with random bytes from a cryptographic source.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the local API needs to know.
pub struct LocalApiSettings {
    /// Where the Unix socket is made, mode 0660; its directory is made with mode 0750 if it is missing.
    pub socket: PathBuf,
    /// An address to listen on besides, for a client that has no way to the socket.
    pub tcp: Option<SocketAddr>,
    /// Where the token is written, mode 0640, new at each start.
    pub token_file: PathBuf,
    /// Names a client may call this agent by, besides `localhost`, `baserunner`, loopback addresses and `tcp`.
    pub allowed_hosts: Vec<String>,
    /// Source of the token.
    pub entropy: Entropy,
    /// For join tokens that are offered.
    pub new_registration_id: NewRegistrationId,
    /// Writes the metrics in Prometheus' text form.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The local API, bound but not yet served.
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
    /// Takes the socket (in place of a dead agent's) and writes a new token. Needs a tokio runtime around it.
    /// Clients that connect wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// When another agent answers on the socket, or a file or an address cannot be had.
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
        // A number is nobody's to redirect, so whoever names us by it means us.
        let named = tcp.filter(|address| !address.ip().is_unspecified());
        allowed_hosts.extend(named.map(|address| match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }));
        let token = Token::mint(TokenKind::Local, |bytes| entropy(bytes));
        // After the socket is ours: a second agent that fails above must not void the first one's token.
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

    /// The TCP address it listens on, with the port the system chose if 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// What clients ask, as a source of the bus; otherwise [`Self::serve`] hands it to `events`. The second call
    /// yields nothing.
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
            // A task of its own: a full `events` must not keep the mailbox waiting.
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
                // Nobody will answer any more; without `requests`, clients are told so at once.
                break;
            }
        }
    };
    stop.run_until_cancelled(forward).await;
}

/// Tells this run's request and notice ids from another run's.
fn run_name(entropy: &Entropy) -> String {
    let mut bytes = [0; 4];
    entropy(&mut bytes);
    format!("{:08x}", u32::from_be_bytes(bytes))
}
