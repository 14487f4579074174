//! What the parts of a device share.

use crate::clock::Clock;
use crate::device::config::OnLine;
use crate::device::faults::Faults;
use crate::device::log_streams::LogStreams;
use crate::device::request_log::LoggedRequest;
use crate::supervisor::{Answer, LOCK_NAMES, Supervisor};
use crate::sync::lock;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Lines of all processes that are kept for `POST /v2/journal-logs`.
const MAX_JOURNAL_LINES: usize = 2000;

pub(crate) struct Shared {
    pub(crate) model: Mutex<Supervisor>,
    /// Held while effects are carried out.
    pub(crate) turn: Mutex<()>,
    pub(crate) clock: Clock,
    /// Wakes what runs the model's timers.
    pub(crate) wake: Notify,
    pub(crate) dir: PathBuf,
    pub(crate) program: Option<PathBuf>,
    pub(crate) programs_by_image: BTreeMap<String, PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) on_line: Option<OnLine>,
    pub(crate) log_streams: LogStreams,
    pub(crate) pending_answers: Mutex<HashMap<u64, PendingAnswer>>,
    pub(crate) stop: CancellationToken,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<LoggedRequest>>,
    processes: Mutex<HashMap<String, Process>>,
    exit_codes: Mutex<HashMap<String, Vec<i32>>>,
    port: Mutex<Port>,
    listening: watch::Sender<bool>,
}

/// Whether the Supervisor's port is open.
struct Port {
    /// Its process runs.
    supervisor_up: bool,
    /// Closed by a fault, whether its process runs or not.
    closed: bool,
}

/// The answer to a call that is answered later.
pub(crate) enum PendingAnswer {
    /// Somebody waits for it.
    Caller(oneshot::Sender<Answer>),
    /// It was there first.
    Early(Answer),
}

/// The process of a container.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) service: String,
    pub(crate) pid: Option<u32>,
    pub(crate) incarnation: u64,
    pub(crate) commands: mpsc::UnboundedSender<ProcessCommand>,
}

/// What the process of a container has to do.
#[derive(Debug)]
pub(crate) enum ProcessCommand {
    /// SIGTERM, and SIGKILL after this time.
    Stop(Duration),
    /// SIGKILL
    Kill,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Shared {
    pub(crate) fn new(model: Supervisor, listening: watch::Sender<bool>) -> Self {
        Self {
            model: Mutex::new(model),
            turn: Mutex::new(()),
            clock: Clock::start(),
            wake: Notify::new(),
            dir: PathBuf::new(),
            program: None,
            programs_by_image: BTreeMap::new(),
            environment: BTreeMap::new(),
            on_line: None,
            log_streams: LogStreams::default(),
            pending_answers: Mutex::default(),
            stop: CancellationToken::new(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            processes: Mutex::default(),
            exit_codes: Mutex::default(),
            port: Mutex::new(Port {
                supervisor_up: true,
                closed: false,
            }),
            listening,
        }
    }

    /// The Supervisor's process starts or ends.
    pub(crate) fn set_supervisor_up(&self, up: bool) {
        self.update_port(|port| port.supervisor_up = up);
    }

    /// A fault closes the port, or opens it again.
    pub(crate) fn set_port_closed(&self, closed: bool) {
        if closed {
            self.log_streams.close_all();
        }
        self.update_port(|port| port.closed = closed);
    }

    fn update_port(&self, change: impl FnOnce(&mut Port)) {
        let mut port = lock(&self.port);
        change(&mut port);
        let listen = port.supervisor_up && !port.closed;
        self.listening
            .send_if_modified(|now| std::mem::replace(now, listen) != listen);
    }

    pub(crate) fn clear_faults(&self) {
        self.faults().clear();
        self.set_port_closed(false);
    }

    pub(crate) fn wait_for(&self, ticket: u64, caller: oneshot::Sender<Answer>) {
        let mut pending = lock(&self.pending_answers);
        match pending.remove(&ticket) {
            Some(PendingAnswer::Early(answer)) => drop(caller.send(answer)),
            _ => drop(pending.insert(ticket, PendingAnswer::Caller(caller))),
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<LoggedRequest>> {
        lock(&self.requests)
    }

    /// By container.
    pub(crate) fn processes(&self) -> MutexGuard<'_, HashMap<String, Process>> {
        lock(&self.processes)
    }

    /// Of the processes of each service, oldest first.
    pub(crate) fn exit_codes(&self) -> MutexGuard<'_, HashMap<String, Vec<i32>>> {
        lock(&self.exit_codes)
    }

    pub(crate) fn volume_dir(&self, name: &str) -> PathBuf {
        self.dir.join("volumes").join(name)
    }

    pub(crate) fn lock_dir(&self, app: u64, service: &str) -> PathBuf {
        self.dir.join("locks").join(app.to_string()).join(service)
    }

    /// Takes an update lock as a program in the service's container would.
    pub(crate) fn take_lock(&self, app: u64, service: &str) -> io::Result<()> {
        let dir = self.lock_dir(app, service);
        std::fs::create_dir_all(&dir)?;
        std::fs::File::create_new(dir.join(LOCK_NAMES[0])).map(drop)
    }

    pub(crate) fn release_lock(&self, app: u64, service: &str) {
        let _ = std::fs::remove_file(self.lock_dir(app, service).join(LOCK_NAMES[0]));
    }

    pub(crate) fn log_file(&self, service: &str) -> PathBuf {
        self.dir.join("log").join(format!("{service}.log"))
    }

    /// A line that a process wrote.
    pub(crate) fn log_line(&self, service: &str, line: &str) {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file(service));
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
        {
            let mut model = lock(&self.model);
            model.journal.push(line.to_owned());
            let surplus = model.journal.len().saturating_sub(MAX_JOURNAL_LINES);
            model.journal.drain(..surplus);
            if let Some(container) = model.container(service) {
                self.log_streams
                    .send_container_line(service, container.service_id, line);
            }
        }
        if let Some(on_line) = &self.on_line {
            on_line(service, line);
        }
    }

    pub(crate) fn write_boot_id(&self, boots: u64) {
        let _ = std::fs::write(
            self.dir.join("boot_id"),
            format!("00000000-0000-4000-8000-{boots:012x}\n"),
        );
    }
}
