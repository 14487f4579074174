//! The server as a whole: start, serve, stop.

use crate::auth::key_file::{AdminFile, KeyError};
use crate::auth::operators::load_admin_token;
use crate::auth::pepper::Pepper;
use crate::clock::Clock;
use crate::http::accept::{self, Limits};
use crate::metrics::Metrics;
use crate::service::app::App;
use crate::service::{join_tokens, presence, refusals};
use crate::settings::Settings;
use crate::storage::database::{self, OpenError, Opening, Storage};
use crate::tls::{Tls, TlsError};
use crate::{http, jobs};
use baseos_interfaces::token::{Token, TokenError, TokenKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::ExposeSecret as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a connection may be idle, at least: longer than nodes pause between heartbeats.
const IDLE: Duration = Duration::from_secs(150);
/// Descriptors that are not for connections.
const OTHER_DESCRIPTORS: usize = 64;
/// How long requests may go on once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the server did not start, or why it ended. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("CLOUDLY_BASEOS_JOIN_TOKEN: {0}; `cloudly token generate` makes one")]
    JoinToken(TokenError),
    #[error("{0}")]
    Settings(&'static str),
    #[error("the database: {0}")]
    Database(#[from] database::Error),
}

/// A server that holds its address and its database, and answers once [`Server::serve`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    app: Arc<App>,
    admin: Token,
}

impl Server {
    /// Opens the database, reads or creates the secrets, and takes the address.
    ///
    /// # Errors
    /// When one of these fails; the error says which and what would help.
    pub async fn bind(mut settings: Settings, clock: Clock) -> Result<Self, ServerError> {
        if settings.heartbeat_seconds == 0 || settings.active_heartbeat_seconds == 0 {
            return Err(ServerError::Settings("a heartbeat interval is at least 1 second"));
        }
        // A node cannot follow an interval that is shorter than the shortest allowed one.
        let shortest = settings.heartbeat_seconds.min(settings.active_heartbeat_seconds);
        settings.min_heartbeat_seconds = settings.min_heartbeat_seconds.min(shortest);
        let tls = settings.tls.clone().map(Tls::load).transpose()?;
        let metrics = Metrics::new();
        let opening = Opening {
            longest_queue: settings.writes_waiting,
            metrics: metrics.database.clone(),
            now: clock.now(),
        };
        let storage = Storage::open(&settings.database, opening).await?;
        let known = storage.pepper_fingerprint().await?;
        let pepper = Pepper::load(
            &settings.pepper_path(),
            known.is_none(),
            metrics.token_hashes.clone(),
        )?;
        match known {
            None => storage.set_pepper_fingerprint(&pepper.fingerprint()).await?,
            Some(known) if known == pepper.fingerprint() => {}
            Some(_) => return Err(OpenError::Pepper(settings.pepper_path()).into()),
        }
        let admin_file = match settings.admin_token_file {
            Some(_) => AdminFile::Given,
            None => AdminFile::Own,
        };
        let admin = load_admin_token(&settings.admin_token_path(), admin_file)?;
        let presence = presence::load(&storage).await?;
        let app = App::new(settings, clock, metrics, storage, pepper, presence, &admin);
        if let Some(text) = &app.settings.baseos_join_token {
            let token =
                Token::parse(TokenKind::Join, text.expose_secret()).map_err(ServerError::JoinToken)?;
            join_tokens::import_configured(&app, &token).await?;
        }
        let listen = &app.settings.listen;
        let failed = |error| ServerError::Listen {
            address: listen.clone(),
            error,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let file = app.settings.admin_token_path();
        let file = std::path::absolute(&file).unwrap_or(file);
        tracing::info!(
            admin_token_id = admin.id().as_str(),
            "the admin token is in {}: commands such as `cloudly token create` find it in the server's directory, or \
             take the file with --token-file",
            file.display()
        );
        if let Some(url) = &app.settings.public_url {
            tracing::info!(url, "reached from outside as");
        }
        Ok(Self {
            listener,
            address,
            tls,
            app: Arc::new(app),
            admin,
        })
    }

    /// Where it listens; the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Its URL for clients on this machine.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("{}://{address}", self.scheme())
    }

    /// The admin token, for clients in the same process.
    pub fn admin_token(&self) -> &Token {
        &self.admin
    }

    /// Serves until `shutdown` is ready, lets running requests end, and writes what is still in memory.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let Self {
            listener, tls, app, ..
        } = self;
        let (stop, stopping) = watch::channel(());
        let (stop_jobs, jobs_stopping) = watch::channel(());
        let jobs = tokio::spawn(jobs::run(Arc::clone(&app), jobs_stopping));
        let limits = connection_limits(&app.settings);
        let routes = http::router(Arc::clone(&app));
        let tls = move || tls.as_ref().map(Tls::acceptor);
        let serving = tokio::spawn(accept::serve(listener, tls, routes, limits, stopping));
        shutdown.await;
        // Dropping it is the signal.
        drop(stop);
        // A client that never finishes its request must not hold up a restart.
        if let Ok(Err(error)) = tokio::time::timeout(DRAIN, serving).await {
            tracing::error!(%error, "accepting connections ended before the server");
        }
        drop(stop_jobs);
        if let Err(error) = jobs.await {
            tracing::error!(%error, "the jobs ended before the server");
        }
        presence::flush(&app).await;
        if let Err(error) = refusals::write(&app).await {
            tracing::warn!(%error, "refusals could not be audited");
        }
        app.close().await;
        Ok(())
    }
}

/// The process may have as many descriptors as the system allows it, and some are for files and the database.
fn connection_limits(settings: &Settings) -> Limits {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: allowed.maximum,
        maximum: allowed.maximum,
    };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed.maximum,
        Err(_) => allowed.current,
    };
    let descriptors = descriptors.and_then(|most| usize::try_from(most).ok());
    let room = descriptors.map_or(usize::MAX, |most| most.saturating_sub(OTHER_DESCRIPTORS));
    let interval = settings.heartbeat_seconds.max(settings.active_heartbeat_seconds);
    Limits {
        connections: settings.max_connections.min(room),
        first_request: settings.first_request_within,
        idle: IDLE.max(Duration::from_secs(2 * u64::from(interval))),
    }
}
