//! A container as a real process.

use crate::device::Inner;
use crate::supervisor::StartProcess;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// What a running process can be told.
#[derive(Debug)]
pub(crate) enum Order {
    /// SIGTERM, and SIGKILL after this time.
    Stop(Duration),
    /// SIGKILL.
    Kill,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) service: String,
    pub(crate) pid: Option<u32>,
    pub(crate) incarnation: u64,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Starts the process of a container.
pub(crate) fn start(inner: &Arc<Inner>, start: StartProcess) {
    let (orders, inbox) = mpsc::unbounded_channel();
    let spawned = spawn(inner, &start);
    let pid = spawned.as_ref().ok().and_then(Child::id);
    let process = Process {
        service: start.service.clone(),
        pid,
        incarnation: start.incarnation,
        orders,
    };
    inner.processes().insert(start.container.clone(), process);
    let (inner, stop) = (Arc::clone(inner), inner.stop.clone());
    tokio::spawn(async move {
        let code = match spawned {
            Err(error) => {
                inner.line(&start.service, &format!("cannot be started: {error}"));
                127
            }
            Ok(child) => tokio::select! {
                code = run(&inner, &start.service, child, inbox) => code,
                // The child is dropped with its future, and a dropped child is killed.
                () = stop.cancelled() => return,
            },
        };
        {
            let mut processes = inner.processes();
            if processes
                .get(&start.container)
                .is_some_and(|process| process.incarnation == start.incarnation)
            {
                processes.remove(&start.container);
            }
        }
        inner.exits().entry(start.service.clone()).or_default().push(code);
        inner.with(|model, now| model.process_exited(now, &start.container, start.incarnation, code));
    });
}

fn spawn(inner: &Inner, start: &StartProcess) -> std::io::Result<Child> {
    let environment = environment(inner, start);
    for name in ["BASEOS_STATE_DIR", "BASEOS_RUN_DIR", "BASEOS_LOCK_DIR"] {
        if let Some(dir) = environment.get(name) {
            std::fs::create_dir_all(dir)?;
        }
    }
    let program = inner.images.get(&start.image).or(inner.program.as_ref());
    let program = program.ok_or_else(|| std::io::Error::other("no program is configured for this image"))?;
    Command::new(program)
        .env_clear()
        .envs(&environment)
        .current_dir(&inner.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// The container's environment, then the device's own; paths are those of this machine, as there is no
/// container to mount them in.
fn environment(inner: &Inner, start: &StartProcess) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = start.environment.iter().cloned().collect();
    let data = start
        .volumes
        .iter()
        .filter_map(|volume| volume.split_once(':'))
        .find(|(_, inside)| inside.split(':').next() == Some("/data/baseos"));
    // Without the volume the data is in the container, and goes with it.
    let data: PathBuf = match data {
        Some((name, _)) => inner.volume_dir(&format!("{}_{name}", start.app_id)),
        None => inner
            .dir
            .join("containers")
            .join(&start.container[..12])
            .join("data"),
    };
    let mut set =
        |name: &str, path: PathBuf| all.insert(name.to_owned(), path.to_string_lossy().into_owned());
    set("BASEOS_STATE_DIR", data);
    set("BASEOS_RUN_DIR", inner.dir.join("run"));
    set("BASEOS_LOCK_DIR", inner.lock_dir(start.app_id, &start.service));
    all.extend(inner.environment().clone());
    all
}

async fn run(
    inner: &Arc<Inner>,
    service: &str,
    mut child: Child,
    mut inbox: mpsc::UnboundedReceiver<Order>,
) -> i32 {
    let streams = [
        child
            .stdout
            .take()
            .map(|out| copy(Arc::clone(inner), service.to_owned(), out))
            .map(tokio::spawn),
        child
            .stderr
            .take()
            .map(|err| copy(Arc::clone(inner), service.to_owned(), err))
            .map(tokio::spawn),
    ];
    let mut deadline: Option<Duration> = None;
    let status = loop {
        let left = deadline.map(|at| at.saturating_sub(inner.clock.now()));
        tokio::select! {
            status = child.wait() => break status,
            Some(order) = inbox.recv() => match order {
                Order::Stop(grace) => {
                    deadline = Some(inner.clock.now() + grace);
                    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
                Order::Kill => { let _ = child.start_kill(); }
            },
            () = crate::clock::sleep(left.unwrap_or(Duration::from_secs(3600))), if left.is_some() => {
                let _ = child.start_kill();
                deadline = None;
            }
        }
    };
    // What it wrote last must be there before its end is known.
    for stream in streams.into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(1), stream).await;
    }
    status.map_or(-1, |status| exit_code(&status))
}

async fn copy(inner: Arc<Inner>, service: String, stream: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        inner.line(&service, &line);
    }
}

fn exit_code(status: &ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Appends a line to a service's log file.
pub(crate) fn append(file: &std::path::Path, line: &str) {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let _ = opened.and_then(|mut file| writeln!(file, "{line}"));
}
