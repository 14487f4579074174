//! The agent put together: settings in, ports and sources around the loop, until somebody says stop.

use crate::adapters::cloudly::{CloudlyPort, CloudlySettings};
use crate::adapters::host::{self, Watched};
use crate::adapters::local_api::{BindError, LocalApi, LocalApiSettings};
use crate::adapters::locks::LockFiles;
use crate::adapters::store::{OpenError, Opened, StateFile};
use crate::adapters::supervisor::{self, Paces, SupervisorClient, SupervisorPort, SupervisorSettings};
use crate::adapters::vault::{Vault, VaultError};
use crate::config::{ApiAddress, Endpoint, Settings};
use crate::lifecycle::checkpoint::{CheckpointError, migrate};
use crate::lifecycle::effect::{Effect, Pace};
use crate::lifecycle::facts::{CallFailure, CallFailureKind, JoinOffer, Run};
use crate::lifecycle::{Checkpoint, Event, Machine};
use crate::random;
use crate::runtime::bus::{Bus, DeadSource};
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::dispatch::Dispatch;
use crate::runtime::drive::{CheckpointSink, Drive};
use crate::runtime::journal::{Header, Journal};
use crate::runtime::shutdown;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::redact::Redactor;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::token::{Token, TokenId};
use secrecy::ExposeSecret as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Mailboxes are this deep: one operation a port, and replies and notices for many clients.
const MAILBOX: usize = 256;
/// How often the host is looked at.
const HOST_PERIOD: Duration = Duration::from_secs(5);
/// How long ports may take to end once the loop has.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the agent did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The checkpoint in it.
    #[error("the state in {} cannot be used: {error}", dir.display())]
    Checkpoint {
        /// The state directory.
        dir: PathBuf,
        /// Why.
        error: CheckpointError,
    },
    /// Something in the configuration that only shows when it is used.
    #[error("configuration: {0}")]
    Config(String),
    /// The local API.
    #[error("the local API cannot be served: {0}")]
    LocalApi(#[from] BindError),
    /// A source ended.
    #[error(transparent)]
    Dead(#[from] DeadSource),
    /// Something of the operating system.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a source ended; the process should exit non-zero and be started anew.
pub async fn run(settings: Settings, redactor: &Redactor) -> Result<(), AgentError> {
    let mut clock = SystemClock::default();
    let Opened {
        file,
        fresh,
        recovered,
    } = StateFile::open(&settings.state_dir)?;
    if let Some(damage) = recovered {
        tracing::error!(%damage, "the newest state was unusable; the one before it is used");
    }
    let store = Arc::new(file);
    let checkpoint = load(&store, &settings.state_dir)?;
    let endpoint = settings.cloudly_or_stored(store.endpoint());
    if let Some(Ok(token)) = &settings.join {
        store.lend_join_token(token.clone());
    }
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let vault = Arc::new(AgentVault {
        store: store.clone(),
        endpoint: endpoint.clone(),
    });
    let mut local_api = bind_local_api(&settings, &vault, &metrics)?;
    let cloudly = endpoint
        .map(|endpoint| cloudly_port(endpoint, vault.clone()))
        .transpose()?;
    let supervisor = supervisor_client(&settings, redactor)?;

    let run = facts(&settings, &store, &mut clock);
    let now = clock.stamp();
    let header = Header {
        checkpoint: checkpoint.clone(),
        run: run.clone(),
        now,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), run = run.run_id, node = checkpoint.book.node.as_ref().map(|n| n.id.as_str()),
        state = %checkpoint.state.name(), fresh, "baserunner starts"
    );
    let (machine, first) = Machine::resume(checkpoint, run, now);
    let journal = Journal::begin(&settings.state_dir, settings.journal_bytes, header);

    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    let (pace, paces) = watch::channel(Pace::Calm);
    let watched = Watched {
        state_dir: settings.state_dir.clone(),
        lock_dir: settings.lock_dir.clone(),
    };
    let calm = Paces {
        calm: settings.supervisor_poll,
        ..Paces::default()
    };
    let bus = Bus::default()
        .with(
            "supervisor poller",
            supervisor::poll(supervisor.clone(), calm, paces),
        )
        .with("host poller", host::poll(watched, HOST_PERIOD))
        .with("local API", local_api.requests());

    let ports = TaskTracker::new();
    let (to_cloudly, mailbox) = mpsc::channel(MAILBOX);
    let (events, from_cloudly) = mpsc::channel(MAILBOX);
    match cloudly {
        Some(port) => ports.spawn(port.serve(mailbox, events)),
        None => ports.spawn(without_cloudly(mailbox, events)),
    };
    let (to_supervisor, mailbox) = mpsc::channel(MAILBOX);
    let (events, from_supervisor) = mpsc::channel(MAILBOX);
    ports.spawn(SupervisorPort::new(supervisor, pace).serve(mailbox, events));
    let (to_lock_files, mailbox) = mpsc::channel(MAILBOX);
    let (events, from_lock_files) = mpsc::channel(MAILBOX);
    ports.spawn(LockFiles::new(&settings.lock_dir).serve(mailbox, events));
    let (to_local_api, mailbox) = mpsc::channel(MAILBOX);
    let (events, from_local_api) = mpsc::channel(MAILBOX);
    ports.spawn(local_api.serve(mailbox, events));
    ports.close();
    let bus = bus
        .with("cloudly port", ReceiverStream::new(from_cloudly))
        .with("supervisor port", ReceiverStream::new(from_supervisor))
        .with("lock-file port", ReceiverStream::new(from_lock_files))
        .with("local API port", ReceiverStream::new(from_local_api));

    let dispatch = Dispatch {
        cloudly: to_cloudly,
        supervisor: to_supervisor,
        lock_files: to_lock_files,
        local_api: to_local_api,
        vault,
    };
    let sink = Sink(store);
    let drive = Drive::new(machine, clock, sink, journal, dispatch, metrics);
    let ended = drive.run(first, bus, stop).await;
    // The loop has dropped the mailboxes; the ports end by themselves.
    if tokio::time::timeout(FAREWELL, ports.wait()).await.is_err() {
        tracing::warn!("a port did not end in time");
    }
    tracing::info!("baserunner stops");
    Ok(ended?)
}

fn load(store: &StateFile, dir: &Path) -> Result<Checkpoint, AgentError> {
    let failed = |error| AgentError::Checkpoint {
        dir: dir.to_owned(),
        error,
    };
    match store.load_checkpoint::<serde_json::Value>() {
        Ok(None) => Ok(Checkpoint::default()),
        Ok(Some(value)) => migrate(value).map_err(failed),
        Err(error) => Err(AgentError::Config(error.to_string())),
    }
}

fn facts(settings: &Settings, store: &StateFile, clock: &mut SystemClock) -> Run {
    let device = &settings.device;
    let stored = store.stored_join_token().map(Ok);
    let configured = settings.join.as_ref().map(|join| {
        join.as_ref()
            .map(|token| token.id().clone())
            .map_err(Clone::clone)
    });
    // A token somebody handed over by hand is newer than the one in the environment.
    let join = stored.or(configured).map(|token| JoinOffer {
        token,
        registration_id: host::registration_id(clock.stamp().wall, random::fill),
        replace: false,
    });
    let architecture = device
        .architecture
        .clone()
        .or_else(|| host::architecture().map(str::to_owned));
    Run {
        run_id: host::run_id(random::fill),
        boot_id: host::boot_id(),
        node: NodeFacts {
            name: settings.node_name.clone().unwrap_or_else(host::hostname),
            hardware_id: host::hardware_id(Path::new("/"), device.uuid.as_deref()),
            balena_uuid: device.uuid.clone(),
            device_type: device.kind.clone(),
            architecture,
            os_name: device.os_name.clone(),
            os_version: device.os_version.clone(),
            os_variant: None,
            supervisor_version: None,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        labels: settings.labels.clone(),
        own_service: settings.service.clone(),
        app_id: settings.app_id,
        has_credentials: store.has_credentials(),
        join,
        supervisor_configured: settings.supervisor.is_some(),
        reserve_bytes: settings.reserve_bytes,
    }
}

fn bind_local_api(
    settings: &Settings,
    vault: &Arc<AgentVault>,
    metrics: &Arc<Metrics>,
) -> Result<LocalApi, AgentError> {
    let (socket, tcp) = match &settings.api {
        ApiAddress::Unix(socket) => (socket.clone(), None),
        ApiAddress::Tcp(address) => (settings.run_dir.join("api.sock"), Some(*address)),
    };
    let metrics = metrics.clone();
    let local = LocalApiSettings {
        socket,
        tcp,
        token_file: settings.run_dir.join("token"),
        allowed_hosts: settings.api_hosts.clone(),
        entropy: Arc::new(random::fill),
        metrics: Arc::new(move || metrics.render()),
    };
    Ok(LocalApi::bind(local, vault.clone())?)
}

/// The port to Cloudly.
///
/// # Errors
/// The endpoint cannot be used.
pub fn cloudly_port(endpoint: Endpoint, vault: Arc<dyn Vault>) -> Result<CloudlyPort, AgentError> {
    let settings = CloudlySettings {
        url: endpoint.url,
        ca_pem: endpoint.ca_pem.map(String::into_bytes),
        allow_http: endpoint.allow_http,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    CloudlyPort::new(settings, vault).map_err(|error| AgentError::Config(error.to_string()))
}

/// The client to the Supervisor; its key is made known to the log's redaction.
///
/// # Errors
/// The address cannot be used.
pub fn supervisor_client(settings: &Settings, redactor: &Redactor) -> Result<SupervisorClient, AgentError> {
    let access = settings.supervisor.as_ref().map(|access| {
        redactor.add(access.api_key.expose_secret());
        SupervisorSettings {
            address: access.address.clone(),
            api_key: access.api_key.clone(),
        }
    });
    SupervisorClient::new(access).map_err(|error| AgentError::Config(error.to_string()))
}

/// Answers for Cloudly when nobody has said where it is.
async fn without_cloudly(mut mailbox: mpsc::Receiver<Effect>, events: mpsc::Sender<Event>) {
    while let Some(effect) = mailbox.recv().await {
        let failure = CallFailure {
            kind: CallFailureKind::Unreachable,
            code: None,
            message: "BASEOS_CLOUDLY_URL is not set, and the state file knows no Cloudly either".to_owned(),
            retry_after_seconds: None,
            next_heartbeat_seconds: None,
        };
        let event = match effect {
            Effect::Register { op, .. } => Event::RegisterFailed { op, failure },
            Effect::Heartbeat { op, .. } => Event::BeatFailed { op, failure },
            other => {
                tracing::error!(effect = other.name(), "bug: not an effect for Cloudly");
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

struct Sink(Arc<StateFile>);

impl CheckpointSink for Sink {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.0
            .save_checkpoint(checkpoint)
            .map_err(|error| error.to_string())
    }
}

/// The store's vault, which also remembers the Cloudly that accepted a token: a release that forgets the
/// environment must not lose the box.
struct AgentVault {
    store: Arc<StateFile>,
    endpoint: Option<Endpoint>,
}

impl AgentVault {
    fn remember_endpoint(&self) -> Result<(), VaultError> {
        match &self.endpoint {
            Some(endpoint) => self
                .store
                .set_endpoint(endpoint)
                .map_err(|error| VaultError(error.to_string())),
            None => Ok(()),
        }
    }
}

impl Vault for AgentVault {
    fn node_token(&self) -> Option<Token> {
        self.store.node_token()
    }

    fn store_node_token(&self, token: &Token) -> Result<(), VaultError> {
        self.store.store_node_token(token)?;
        self.remember_endpoint()
    }

    fn store_next_token(&self, token: &Token) -> Result<(), VaultError> {
        self.store.store_next_token(token)
    }

    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError> {
        self.store.token_accepted(id)?;
        self.remember_endpoint()
    }

    fn token_refused(&self, id: &TokenId) {
        self.store.token_refused(id);
    }

    fn join_token(&self, id: &TokenId) -> Option<Token> {
        self.store.join_token(id)
    }

    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError> {
        self.store.offer_join_token(token)
    }

    fn forget_join_token(&self, id: &TokenId) -> Result<(), VaultError> {
        self.store.forget_join_token(id)
    }
}
