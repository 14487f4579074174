//! The device around a Supervisor: real time, an HTTP API, directories, and the agent as a real process.
//!
//! ```text
//! <dir>/volumes/<app id>_<name>   named volumes; `baseos:/data/baseos` becomes the agent's BASEOS_STATE_DIR
//! <dir>/run                       BASEOS_RUN_DIR, shared by all services
//! <dir>/locks/<app id>/<service>  BASEOS_LOCK_DIR: what a container sees as /tmp/balena
//! <dir>/log/<service>.log         standard output and error of its process
//! <dir>/boot_id                   changes with every boot
//! ```

mod body;
mod control;
mod faults;
mod handle;
mod listeners;
mod process;
mod server;

pub use faults::{Fault, FaultKind};

use crate::clock::Clock;
use crate::supervisor::{Answer, Config, Effect, LockFiles, Registry, Supervisor};
use process::{Order, Process};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Called with the service and the line, for each line a process writes.
pub type OnLine = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What a device is made from.
#[derive(Clone, Default)]
pub struct DeviceConfig {
    /// Its directory; `None`: a temporary one that goes with it.
    pub dir: Option<PathBuf>,
    /// The Supervisor. `address`, `api_port` and `epoch_millis` are set by the device.
    pub supervisor: Config,
    /// The images.
    pub registry: Registry,
    /// The program of every service whose image is [`crate::supervisor::Behaviour::Process`].
    pub program: Option<PathBuf>,
    /// Programs of single images; they come before `program`.
    pub images: BTreeMap<String, PathBuf>,
    /// The device's own variables for those processes; they win over the release's.
    pub environment: BTreeMap<String, String>,
    /// Where the Supervisor listens; `None`: a free port of the loopback interface.
    pub listen: Option<SocketAddr>,
    /// Where the control surface listens; `None`: a free port of the loopback interface.
    pub control: Option<SocketAddr>,
    /// Told every line the processes write.
    pub on_line: Option<OnLine>,
}

/// One request the Supervisor got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    /// When, since the device was started.
    pub at_millis: u64,
    /// `GET`, `POST` …
    pub method: String,
    /// Without the query, so without a key.
    pub path: String,
    /// The body as text.
    pub body: String,
    /// The fault that befell it.
    pub fault: Option<FaultKind>,
    /// The answer's status; `None`: no answer (yet).
    pub status: Option<u16>,
}

/// A running device. Everything it started ends with it.
pub struct Device {
    inner: Arc<Inner>,
    address: SocketAddr,
    control: SocketAddr,
    _temporary: Option<tempfile::TempDir>,
}

pub(crate) struct Inner {
    model: Mutex<Supervisor>,
    turn: Mutex<()>,
    clock: Clock,
    wake: Notify,
    dir: PathBuf,
    program: Option<PathBuf>,
    images: BTreeMap<String, PathBuf>,
    environment: Mutex<BTreeMap<String, String>>,
    faults: Mutex<faults::Faults>,
    requests: Mutex<Vec<Logged>>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    processes: Mutex<HashMap<String, Process>>,
    /// How the processes of each service ended, oldest first.
    exits: Mutex<HashMap<String, Vec<i32>>>,
    /// Whether the Supervisor's process is there, and whether a fault keeps the port closed all the same.
    up: Mutex<(bool, bool)>,
    listening: watch::Sender<bool>,
    on_line: Option<OnLine>,
    pub(crate) listeners: listeners::Listeners,
    stop: CancellationToken,
}

enum Waiting {
    Caller(oneshot::Sender<Answer>),
    Early(Answer),
}

impl Device {
    /// Starts a device: its Supervisor is up and has no target.
    ///
    /// # Errors
    /// When its directory cannot be made or a port cannot be bound.
    pub async fn start(config: DeviceConfig) -> io::Result<Self> {
        let (dir, temporary) = match config.dir {
            Some(dir) => (dir, None),
            None => {
                let made = tempfile::Builder::new().prefix("baseos-device-").tempdir()?;
                (made.path().to_owned(), Some(made))
            }
        };
        for sub in ["volumes", "run", "locks", "log", "containers"] {
            std::fs::create_dir_all(dir.join(sub))?;
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(config.listen.unwrap_or(loopback)).await?;
        let address = listener.local_addr()?;
        let control_listener = TcpListener::bind(config.control.unwrap_or(loopback)).await?;
        let control = control_listener.local_addr()?;
        let supervisor = Config {
            address: format!("http://{address}"),
            api_port: address.port(),
            epoch_millis: crate::clock::unix_millis(),
            ..config.supervisor
        };
        let locks = Box::new(LockFiles::new(&dir.join("locks")));
        let (listening, heard) = watch::channel(true);
        let inner = Arc::new(Inner {
            model: Mutex::new(Supervisor::new(supervisor, config.registry, locks)),
            turn: Mutex::new(()),
            clock: Clock::start(),
            wake: Notify::new(),
            dir,
            program: config.program,
            images: config.images,
            environment: Mutex::new(config.environment),
            faults: Mutex::default(),
            requests: Mutex::default(),
            waiting: Mutex::default(),
            processes: Mutex::default(),
            exits: Mutex::default(),
            up: Mutex::new((true, false)),
            listening,
            on_line: config.on_line,
            listeners: listeners::Listeners::default(),
            stop: CancellationToken::new(),
        });
        inner.write_boot_id(0);
        let stop = inner.stop.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(drive(Arc::clone(&inner))));
        let serve = server::serve(Arc::clone(&inner), Some(listener), address, heard);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        let serve = control::serve(Arc::clone(&inner), control_listener);
        tokio::spawn(stop.run_until_cancelled_owned(serve));
        Ok(Self {
            inner,
            address,
            control,
            _temporary: temporary,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for process in self.inner.processes().values() {
            process.signal(rustix::process::Signal::KILL);
        }
        self.inner.stop.cancel();
    }
}

/// Lets the model's time pass.
async fn drive(inner: Arc<Inner>) {
    loop {
        let deadline = inner.quietly(|model, now| {
            model.advance(now);
            model.next_deadline()
        });
        let wait = deadline.map(|at| at.saturating_sub(inner.clock.now()));
        tokio::select! {
            () = inner.wake.notified() => {}
            () = crate::clock::sleep(wait.unwrap_or(Duration::from_secs(3600))) => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not hide behind a poisoned lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Does something with the model, then carries out what follows from it.
    pub(crate) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        let result = self.quietly(act);
        self.wake.notify_one();
        result
    }

    /// The same without waking the driver: it is the driver's own look, and must not wake itself.
    fn quietly<T>(self: &Arc<Self>, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        // Effects leave in the order the model decided them, also when two threads come at once.
        let _turn = lock(&self.turn);
        let (result, effects, boots) = {
            let mut model = lock(&self.model);
            let result = act(&mut model, self.clock.now());
            (result, model.take_effects(), model.boots())
        };
        for effect in effects {
            self.carry_out(effect, boots);
        }
        result
    }

    fn carry_out(self: &Arc<Self>, effect: Effect, boots: u64) {
        let order = |container: &str, order: Order| {
            if let Some(process) = self.processes().get(container) {
                let _ = process.orders.send(order);
            }
        };
        match effect {
            Effect::Start(start) => process::start(self, start),
            Effect::Stop { container, grace } => order(&container, Order::Stop(grace)),
            Effect::Kill { container } => order(&container, Order::Kill),
            Effect::Answer { ticket, answer } => {
                let mut waiting = lock(&self.waiting);
                match waiting.remove(&ticket) {
                    Some(Waiting::Caller(caller)) => drop(caller.send(answer)),
                    _ => drop(waiting.insert(ticket, Waiting::Early(answer))),
                }
            }
            Effect::MakeVolume { name } => drop(std::fs::create_dir_all(self.volume_dir(&name))),
            Effect::WipeVolume { name } => drop(std::fs::remove_dir_all(self.volume_dir(&name))),
            Effect::SystemLine(line) => self.listeners.system(&line),
            Effect::Down => {
                self.listeners.cut();
                lock(&self.waiting).clear();
                self.set_up(|(up, _)| *up = false);
            }
            Effect::Up => self.set_up(|(up, _)| *up = true),
            Effect::Booted => self.write_boot_id(boots),
        }
    }

    pub(crate) fn set_up(&self, change: impl FnOnce(&mut (bool, bool))) {
        let mut up = lock(&self.up);
        change(&mut up);
        let listen = up.0 && !up.1;
        self.listening
            .send_if_modified(|now| std::mem::replace(now, listen) != listen);
    }

    pub(crate) fn wait_for(&self, ticket: u64, caller: oneshot::Sender<Answer>) {
        let mut waiting = lock(&self.waiting);
        match waiting.remove(&ticket) {
            Some(Waiting::Early(answer)) => drop(caller.send(answer)),
            _ => drop(waiting.insert(ticket, Waiting::Caller(caller))),
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        lock(&self.faults)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Logged>> {
        lock(&self.requests)
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, HashMap<String, Process>> {
        lock(&self.processes)
    }

    pub(crate) fn exits(&self) -> MutexGuard<'_, HashMap<String, Vec<i32>>> {
        lock(&self.exits)
    }

    pub(crate) fn environment(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        lock(&self.environment)
    }

    pub(crate) fn volume_dir(&self, name: &str) -> PathBuf {
        self.dir.join("volumes").join(name)
    }

    pub(crate) fn lock_dir(&self, app: u64, service: &str) -> PathBuf {
        self.dir.join("locks").join(app.to_string()).join(service)
    }

    pub(crate) fn log_file(&self, service: &str) -> PathBuf {
        self.dir.join("log").join(format!("{service}.log"))
    }

    /// A line a process wrote.
    pub(crate) fn line(&self, service: &str, line: &str) {
        process::append(&self.log_file(service), line);
        {
            let mut model = lock(&self.model);
            model.journal.push(line.to_owned());
            let surplus = model.journal.len().saturating_sub(2000);
            model.journal.drain(..surplus);
            if let Some(container) = model.container(service) {
                self.listeners.container(service, container.service_id, line);
            }
        }
        if let Some(on_line) = &self.on_line {
            on_line(service, line);
        }
    }

    fn write_boot_id(&self, boots: u64) {
        let _ = std::fs::write(
            self.dir.join("boot_id"),
            format!("00000000-0000-4000-8000-{boots:012x}\n"),
        );
    }
}

/// The directory is for messages: a test that failed shows where its device lived.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dir: &Path = &self.inner.dir;
        f.debug_struct("Device")
            .field("address", &self.address)
            .field("dir", &dir)
            .finish_non_exhaustive()
    }
}
