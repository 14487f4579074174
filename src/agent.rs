//! Assembles the agent from its settings: ports and sources around the loop, until it is stopped. Wiring only.

use crate::adapters::cloudly::{self, CloudlyPort};
use crate::adapters::host::{self, Watched};
use crate::adapters::local_api::{BindError, LocalApi, LocalApiSettings};
use crate::adapters::lock_files::{self, LockFiles};
use crate::adapters::store::{GuardOrders, OpenError, Opened, StateFile};
use crate::adapters::supervisor::{
    self, PollIntervals, SupervisorClient, SupervisorPort, SupervisorSettings,
};
use crate::build_time;
use crate::config::{ApiAddress, Settings, check_environment};
use crate::lifecycle::checkpoint::VERSION;
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::facts::{GuardSettings, JoinOffer, Run};
use crate::lifecycle::recovery::{Loaded, Stored, recover};
use crate::lifecycle::{Checkpoint, Effect, Event, Machine};
use crate::proxy::{HostProxy, ProxyChoice};
use crate::random;
use crate::runtime::alarm::KernelAlarm;
use crate::runtime::bus::{Bus, DeadSource};
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::dispatch::Dispatch;
use crate::runtime::drive::{CheckpointSink, Drive};
use crate::runtime::journal::{Header, Journal};
use crate::runtime::shutdown;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::redact::Redactor;
use crate::vault::Endpoint;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::registration::RegistrationId;
use secrecy::ExposeSecret as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Capacity of mailboxes: one operation per port, and replies and notices for many clients.
const MAILBOX: usize = 256;
/// Interval of host observations.
const HOST_PERIOD: Duration = Duration::from_secs(5);
/// Time limit for ports to end after the loop.
const PORTS_END: Duration = Duration::from_secs(2);

/// Why the agent did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("configuration: {0}")]
    Cloudly(#[from] cloudly::ConfigError),
    #[error("configuration: {0}")]
    Supervisor(#[from] supervisor::ConfigError),
    #[error("the local API cannot be served: {0}")]
    LocalApi(#[from] BindError),
    #[error(transparent)]
    Dead(#[from] DeadSource),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a source ended; the process should exit with an error and be restarted.
pub async fn run(settings: Settings, redactor: &Redactor) -> Result<(), AgentError> {
    let mut clock = SystemClock::default();
    let alarm = KernelAlarm::new()?;
    let store = open_store(&settings)?;
    let Loaded { checkpoint, problem } = load_checkpoint(&store, &settings.state_dir);
    let endpoint = settings.cloudly_or_stored(store.endpoint());
    if let Some(endpoint) = &endpoint {
        store.use_endpoint(endpoint.clone());
    }
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let mut local_api = LocalApi::bind(local_api_settings(&settings, &metrics), store.clone())?;
    let supervisor = supervisor_client(&settings, redactor)?;
    let host_proxy = Arc::<HostProxy>::default();
    let proxy = proxy_choice(&settings, &host_proxy, redactor);
    let uses_host_proxy = matches!(proxy, ProxyChoice::Host(_));
    let cloudly = CloudlyPort::new(endpoint.as_ref(), proxy, store.clone())?;

    let run = Run {
        checkpoint_problem: problem,
        ..run_facts(&settings, &store, endpoint.as_ref())
    };
    let now = clock.stamp();
    let header = Header {
        checkpoint: checkpoint.clone(),
        run: run.clone(),
        now,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), run = run.run_id, node = checkpoint.node_in_words(),
        state = %checkpoint.agent_state(), "baserunner starts"
    );
    let (machine, first) = Machine::resume_with(checkpoint, run, now, check_environment);
    let journal = Journal::begin(&settings.state_dir, settings.journal_bytes, header);

    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    let (set_poll_rate, poll_rate) = watch::channel(PollRate::Slow);
    let intervals = PollIntervals {
        slow: settings.supervisor_poll,
        ..PollIntervals::default()
    };
    let lock_dir = settings.lock_dir.clone();
    let watched = Watched {
        state_dir: settings.state_dir.clone(),
        locks: Box::new(move || lock_files::look(&lock_dir)),
    };

    let ports = TaskTracker::new();
    let (to_cloudly, from_cloudly) = start(&ports, |mailbox, events| cloudly.serve(mailbox, events));
    let port = SupervisorPort::new(supervisor.clone(), set_poll_rate);
    let (to_supervisor, from_supervisor) = start(&ports, |mailbox, events| port.serve(mailbox, events));
    let port = LockFiles::new(&settings.lock_dir);
    let (to_lock_files, from_lock_files) = start(&ports, |mailbox, events| port.serve(mailbox, events));
    let requests = local_api.requests();
    let (to_local_api, from_local_api) = start(&ports, |mailbox, events| local_api.serve(mailbox, events));
    ports.close();

    let watching = uses_host_proxy.then(|| {
        let watching = supervisor::keep_host_proxy(supervisor.clone(), host_proxy);
        AbortOnDropHandle::new(tokio::spawn(watching))
    });
    let log = supervisor::log_events(supervisor.clone());
    let bus = Bus::default()
        .with("supervisor log", log)
        .with(
            "supervisor poller",
            supervisor::poll(supervisor, intervals, poll_rate),
        )
        .with("host poller", host::poll(watched, HOST_PERIOD))
        .with("local API", requests)
        .with("cloudly port", from_cloudly)
        .with("supervisor port", from_supervisor)
        .with("lock-file port", from_lock_files)
        .with("local API port", from_local_api);
    let dispatch = Dispatch {
        cloudly: to_cloudly,
        supervisor: to_supervisor,
        lock_files: to_lock_files,
        local_api: to_local_api,
        vault: store.clone(),
    };
    let sink = Sink {
        guard: GuardOrders::new(&settings.state_dir),
        store,
    };
    let drive = Drive::new(machine, clock, alarm, sink, journal, dispatch, metrics);
    let ended = drive.run(first, bus, stop).await;
    drop(watching);
    // The loop has dropped the mailboxes; the ports end by themselves.
    if tokio::time::timeout(PORTS_END, ports.wait()).await.is_err() {
        tracing::warn!("a port did not end in time");
    }
    tracing::info!("baserunner stops");
    Ok(ended?)
}

/// Starts a port as a task; returns its mailbox and the stream of its results.
fn start<F: Future<Output = ()> + Send + 'static>(
    ports: &TaskTracker,
    serve: impl FnOnce(mpsc::Receiver<Effect>, mpsc::Sender<Event>) -> F,
) -> (mpsc::Sender<Effect>, ReceiverStream<Event>) {
    let (to_port, mailbox) = mpsc::channel(MAILBOX);
    let (events, from_port) = mpsc::channel(MAILBOX);
    ports.spawn(serve(mailbox, events));
    (to_port, ReceiverStream::new(from_port))
}

fn open_store(settings: &Settings) -> Result<Arc<StateFile>, AgentError> {
    let Opened {
        file,
        fresh,
        recovered,
    } = StateFile::open(&settings.state_dir)?;
    if let Some(damage) = recovered {
        tracing::error!(%damage, "the newest state file cannot be used; the previous one is");
    }
    if fresh {
        tracing::info!(dir = %settings.state_dir.display(), "no stored state: this node is new");
    }
    Ok(Arc::new(file))
}

fn load_checkpoint(store: &StateFile, dir: &Path) -> Loaded {
    let stored = Stored {
        newest: store.checkpoint(),
        earlier: store.earlier_checkpoint(),
        has_credentials: store.has_credentials(),
        newer_file: store.newer_version(),
    };
    let version = stored
        .newest
        .as_ref()
        .and_then(|stored| stored["version"].as_u64());
    let guard = host::guard_report(dir);
    let loaded = recover(stored, guard.as_ref());
    match &loaded.problem {
        Some(problem) => {
            tracing::error!(%problem, dir = %dir.display(), "the stored checkpoint cannot be used");
        }
        None if version.is_some_and(|version| version < VERSION.into()) => store.keep_earlier_checkpoint(),
        None => {}
    }
    loaded
}

fn run_facts(settings: &Settings, store: &StateFile, endpoint: Option<&Endpoint>) -> Run {
    let device = &settings.device;
    if let Some(Err(problem)) = &settings.join {
        tracing::warn!(%problem, "the join token of the configuration is malformed and not used");
    }
    let join = store
        .join_token_to_offer(settings.join.as_ref())
        .map(|token| JoinOffer {
            token,
            registration_id: new_registration_id(),
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
        state_dir: settings.state_dir.to_string_lossy().into_owned(),
        state_owner: host::owner(&settings.state_dir),
        app_id: settings.app_id,
        has_credentials: store.has_credentials(),
        join,
        supervisor_configured: settings.supervisor.is_some(),
        reserve_bytes: settings.reserve_bytes,
        built_at: Some(build_time::built_at()),
        cloudly_over_tls: endpoint.is_some_and(|endpoint| endpoint.url.starts_with("https:")),
        cloudly_url: endpoint.map(Endpoint::shown),
        guard: Some(GuardSettings {
            budget_seconds: u32::try_from(settings.guard_budget.as_secs()).unwrap_or(u32::MAX),
            report: host::guard_report(&settings.state_dir),
        }),
        checkpoint_problem: None,
        settings_problems: settings.problems.iter().map(ToString::to_string).collect(),
    }
}

fn new_registration_id() -> RegistrationId {
    let mut random = [0; 16];
    random::fill(&mut random);
    RegistrationId::new(SystemClock::default().stamp().wall.as_millisecond(), random)
}

fn local_api_settings(settings: &Settings, metrics: &Arc<Metrics>) -> LocalApiSettings {
    let (socket, tcp) = match &settings.api {
        ApiAddress::Unix(socket) => (socket.clone(), None),
        ApiAddress::Tcp(address) => (settings.run_dir.join("api.sock"), Some(*address)),
    };
    let metrics = metrics.clone();
    LocalApiSettings {
        socket,
        tcp,
        token_file: settings.run_dir.join("token"),
        allowed_hosts: settings.api_hosts.clone(),
        entropy: Arc::new(random::fill),
        new_registration_id: Arc::new(new_registration_id),
        metrics: Arc::new(move || metrics.render()),
    }
}

/// The way to Cloudly; the proxy's password is registered with the log's redactor.
fn proxy_choice(settings: &Settings, host: &Arc<HostProxy>, redactor: &Redactor) -> ProxyChoice {
    if let Some(ProxyChoice::Fixed(proxy)) = &settings.proxy
        && let Some(secret) = proxy.secret()
    {
        redactor.add(secret.expose_secret());
    }
    settings
        .proxy
        .clone()
        .unwrap_or_else(|| ProxyChoice::Host(host.clone()))
}

/// The client of the Supervisor; its key is registered with the log's redactor.
fn supervisor_client(
    settings: &Settings,
    redactor: &Redactor,
) -> Result<SupervisorClient, supervisor::ConfigError> {
    let access = settings.supervisor.as_ref().map(|access| {
        redactor.add(access.api_key.expose_secret());
        SupervisorSettings {
            address: access.address.clone(),
            api_key: access.api_key.clone(),
        }
    });
    SupervisorClient::new(access)
}

struct Sink {
    store: Arc<StateFile>,
    guard: GuardOrders,
}

impl CheckpointSink for Sink {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        if !checkpoint.is_under_trial() {
            self.store.forget_earlier_checkpoint();
        }
        self.store
            .save_checkpoint(checkpoint)
            .map_err(|error| error.to_string())?;
        match checkpoint.guard_orders() {
            Some(orders) => self.guard.save(orders).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}
