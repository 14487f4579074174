//! The server as a whole: start, serve, stop.

use crate::app::App;
use crate::clock::{Clock, after};
use crate::http;
use crate::keys::{self, KeyError, Pepper};
use crate::presence::Presence;
use crate::settings::Settings;
use crate::storage::join_tokens::{self, JoinToken};
use crate::storage::{OpenError, Storage, reports};
use axum::serve::ListenerExt as _;
use baseos_interfaces::token::{Token, TokenError, TokenKind};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How long presence may wait in memory. What a crash loses is healed by the next heartbeats.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How many flushes pass between two looks for join-token uses to be given back.
const FLUSHES_PER_SWEEP: u32 = 60;
/// How long requests may go on once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long `baseosJoinToken` is good for, from the first start that saw it, seconds.
const BASEOS_JOIN_TOKEN_SECONDS: i64 = 24 * 3600;

/// Why the server did not start or went down. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The pepper or the admin token.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// What was asked for.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// `baseosJoinToken` is not a join token.
    #[error("CLOUDLY_BASEOS_JOIN_TOKEN: {0}; `cloudly token generate` makes one")]
    JoinToken(TokenError),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// The database while starting.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The network while serving.
    #[error("serving ended: {0}")]
    Serve(io::Error),
}

/// A server that has its address and its database, and answers once [`Server::serve`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    admin: Token,
}

impl Server {
    /// Opens the database, reads or makes the secrets and takes the address.
    ///
    /// # Errors
    /// When any of these cannot be had; the error says which and what would help.
    pub async fn bind(mut settings: Settings, clock: Clock) -> Result<Self, ServerError> {
        if settings.heartbeat_seconds == 0 || settings.active_heartbeat_seconds == 0 {
            return Err(ServerError::Settings("a heartbeat interval is at least 1 second"));
        }
        // An interval shorter than the shortest allowed would be an order nobody can follow.
        let shortest = settings.heartbeat_seconds.min(settings.active_heartbeat_seconds);
        settings.min_heartbeat_seconds = settings.min_heartbeat_seconds.min(shortest);
        let storage = Storage::open(&settings.database, clock.now()).await?;
        let known = storage.pepper_fingerprint().await?;
        let pepper = Pepper::load(&settings.pepper_path(), known.is_none())?;
        match known {
            None => storage.note_pepper(&pepper.fingerprint()).await?,
            Some(known) if known == pepper.fingerprint() => {}
            Some(_) => return Err(OpenError::Pepper(settings.pepper_path()).into()),
        }
        let admin = keys::admin_token(&settings.admin_token_path())?;
        let presence = Presence::new(reports::load_presence(&mut *storage.read().await?).await?);
        let app = App::new(settings, clock, storage, pepper, presence, &admin);
        import_join_token(&app).await?;
        let listen = &app.settings.listen;
        let fail = |error| ServerError::Listen {
            address: listen.clone(),
            error,
        };
        let listener = TcpListener::bind(listen).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let file = app.settings.admin_token_path();
        tracing::info!(admin_token_file = %file.display(), admin_token = app.admin_id, "the admin token's file");
        if let Some(url) = &app.settings.public_url {
            tracing::info!(url, "reached from outside as");
        }
        Ok(Self {
            listener,
            address,
            app: Arc::new(app),
            admin,
        })
    }

    /// Where it listens; the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
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
        format!("http://{address}")
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
        let Self { listener, app, .. } = self;
        let (asked, mut stopping) = watch::channel(());
        let (keep, kept) = watch::channel(());
        let keeper = tokio::spawn(housekeeping(Arc::clone(&app), kept));
        let routes = http::router(Arc::clone(&app)).into_make_service_with_connect_info::<SocketAddr>();
        // Answers are small and single; waiting for more to send only delays them.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let serving = axum::serve(listener, routes).with_graceful_shutdown(async move {
            shutdown.await;
            // Dropping it is the signal.
            drop(asked);
        });
        let mut serving = pin!(serving.into_future());
        let served = tokio::select! {
            served = &mut serving => served,
            // A client that never finishes its request must not hold up a restart.
            _ = stopping.changed() => tokio::time::timeout(DRAIN, serving).await.unwrap_or(Ok(())),
        };
        drop(keep);
        // It ends between two flushes, so none is cut off; the last one follows here.
        let _ = keeper.await;
        flush(&app).await;
        app.storage.close().await;
        served.map_err(ServerError::Serve)
    }
}

/// Writes presence behind, and gives back what was never used, until `kept` ends.
async fn housekeeping(app: Arc<App>, mut kept: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_sweep = FLUSHES_PER_SWEEP;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = kept.changed() => return,
        }
        flush(&app).await;
        until_sweep -= 1;
        if until_sweep == 0 {
            until_sweep = FLUSHES_PER_SWEEP;
            if let Err(error) = sweep(&app).await {
                tracing::warn!(%error, "join-token uses could not be given back");
            }
        }
    }
}

async fn sweep(app: &App) -> Result<(), sqlx::Error> {
    let mut tx = app.storage.write().await?;
    let given_back = join_tokens::give_back(&mut tx, app.clock.now()).await?;
    if given_back > 0 {
        tracing::info!(given_back, "join-token uses were given back");
    }
    tx.commit().await
}

async fn flush(app: &App) {
    let dirty = app.presence.take_dirty();
    if dirty.is_empty() {
        return;
    }
    let written = async {
        let mut tx = app.storage.write().await?;
        reports::save_presence(&mut tx, &dirty).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, nodes = dirty.len(), "presence could not be written; the next try has it too");
        app.presence.put_back(&dirty);
    }
}

/// Takes `baseosJoinToken` in, the first time it is seen.
async fn import_join_token(app: &App) -> Result<(), ServerError> {
    let Some(text) = &app.settings.baseos_join_token else {
        return Ok(());
    };
    let token = Token::parse(TokenKind::Join, text.expose_secret()).map_err(ServerError::JoinToken)?;
    let now = app.clock.now();
    let stored = JoinToken {
        id: token.id().to_string(),
        mac: app.pepper.mac(&token),
        max_uses: app.settings.baseos_join_token_uses.max(1),
        uses: 0,
        fleet: None,
        labels: Default::default(),
        require_approval: false,
        allow_replace: false,
        created_at: now,
        created_by: "configuration".to_owned(),
        expires_at: after(now, BASEOS_JOIN_TOKEN_SECONDS),
        revoked_at: None,
    };
    let mut tx = app.storage.write().await?;
    if join_tokens::insert(&mut tx, &stored).await? {
        let data = json!({ "maxUses": stored.max_uses, "expiresAt": stored.expires_at });
        let subject = Some(stored.id.as_str());
        crate::storage::operations::audit(&mut tx, now, "configuration", "joinToken.created", subject, &data)
            .await?;
        tracing::info!(token = stored.id, expires_at = %stored.expires_at, uses = stored.max_uses, "baseosJoinToken was taken in");
    } else if let Some(known) = join_tokens::find(&mut tx, &stored.id).await?
        && known.expires_at <= now
    {
        tracing::warn!(token = known.id, expired_at = %known.expires_at, "baseosJoinToken has expired and enrols nobody; configure a new one or none");
    }
    Ok(tx.commit().await?)
}
