//! A container as a real process.

use crate::clock::sleep;
use crate::device::shared::{Process, ProcessCommand, Shared};
use crate::supervisor::StartProcess;
use baseos_interfaces::rules::GUARD_PROGRAM;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// The exit code of a program that cannot be started, as a shell has it.
const CANNOT_START: i32 = 127;

/// Starts the process of a container; `exited` is called with its exit code.
pub(crate) fn start(shared: &Arc<Shared>, start: StartProcess, exited: impl FnOnce(i32) + Send + 'static) {
    let (commands, inbox) = mpsc::unbounded_channel();
    let spawned = spawn(shared, &start);
    let pid = spawned.as_ref().ok().and_then(Child::id);
    let process = Process {
        service: start.service.clone(),
        pid,
        incarnation: start.incarnation,
        commands,
    };
    shared.processes().insert(start.container.clone(), process);
    let (shared, stop) = (Arc::clone(shared), shared.stop.clone());
    tokio::spawn(async move {
        let code = match spawned {
            Err(error) => {
                shared.log_line(&start.service, &format!("cannot be started: {error}"));
                CANNOT_START
            }
            Ok(child) => tokio::select! {
                code = run(&shared, &start.service, child, inbox) => code,
                // The child is dropped with its future, and a dropped child is killed.
                () = stop.cancelled() => return,
            },
        };
        {
            let mut processes = shared.processes();
            if processes
                .get(&start.container)
                .is_some_and(|process| process.incarnation == start.incarnation)
            {
                processes.remove(&start.container);
            }
        }
        shared
            .exit_codes()
            .entry(start.service.clone())
            .or_default()
            .push(code);
        exited(code);
    });
}

fn spawn(shared: &Shared, start: &StartProcess) -> std::io::Result<Child> {
    let environment = environment(shared, start);
    let user = start.user.as_deref().and_then(User::parse);
    for name in ["BASEOS_STATE_DIR", "BASEOS_RUN_DIR"] {
        if let Some(dir) = environment.get(name) {
            make_dir(Path::new(dir), user)?;
        }
    }
    // The engine makes it, for root alone.
    if let Some(dir) = environment.get("BASEOS_LOCK_DIR") {
        std::fs::create_dir_all(dir)?;
    }
    let program = shared
        .programs_by_image
        .get(&start.image)
        .or(shared.program.as_ref());
    let program = program.ok_or_else(|| std::io::Error::other("no program is configured for this image"))?;
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new(program_for_everybody(shared, program)?);
            command.uid(user.uid).gid(user.gid);
            command
        }
        None => Command::new(program),
    };
    command
        .args(&start.command)
        .env_clear()
        .envs(&environment)
        .current_dir(&shared.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// The user of a container's process. Only a simulator that runs as root can give it.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// From the form of a compose file, with numbers.
    fn parse(user: &str) -> Option<Self> {
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        Some(Self {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    }
}

/// A new volume belongs to the user that the image's directory belongs to, and the images made here give it to their own.
fn make_dir(dir: &Path, user: Option<User>) -> std::io::Result<()> {
    let is_new = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    std::fs::create_dir_all(dir)?;
    match user {
        Some(user) if is_new => std::os::unix::fs::chown(dir, Some(user.uid), Some(user.gid)),
        _ => Ok(()),
    }
}

/// A copy that another user can reach, wherever the program lies; with the guard's program, if that is beside it.
fn program_for_everybody(shared: &Shared, program: &Path) -> std::io::Result<PathBuf> {
    let everybody = std::fs::Permissions::from_mode(0o755);
    let name = program.to_string_lossy().replace('/', "_");
    let dir = shared.dir.join("programs").join(&name);
    std::fs::create_dir_all(&dir)?;
    std::fs::set_permissions(&shared.dir, everybody.clone())?;
    let guard = program.with_file_name(GUARD_PROGRAM);
    let copy = dir.join(name);
    for (program, copy) in [(&*guard, &dir.join(GUARD_PROGRAM)), (program, &copy)] {
        if program.exists() && !copy.exists() {
            std::fs::copy(program, copy)?;
            std::fs::set_permissions(copy, everybody.clone())?;
        }
    }
    Ok(copy)
}

/// The container's environment, then the device's own. Paths are those of this machine, because there is no container
/// to mount them in.
fn environment(shared: &Shared, start: &StartProcess) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = start.environment.iter().cloned().collect();
    let data = start
        .volumes
        .iter()
        .filter_map(|volume| volume.split_once(':'))
        .find(|(_, inside)| inside.split(':').next() == Some("/data/baseos"));
    // Without the volume the data is in the container, and removed with it.
    let data: PathBuf = match data {
        Some((name, _)) => shared.volume_dir(&format!("{}_{name}", start.app_id)),
        None => shared
            .dir
            .join("containers")
            .join(&start.container[..12])
            .join("data"),
    };
    let mut set =
        |name: &str, path: PathBuf| all.insert(name.to_owned(), path.to_string_lossy().into_owned());
    set("BASEOS_STATE_DIR", data);
    set("BASEOS_RUN_DIR", shared.dir.join("run"));
    set("BASEOS_LOCK_DIR", shared.lock_dir(start.app_id, &start.service));
    all.extend(shared.environment.clone());
    all
}

async fn run(
    shared: &Arc<Shared>,
    service: &str,
    mut child: Child,
    mut inbox: mpsc::UnboundedReceiver<ProcessCommand>,
) -> i32 {
    let streams = [
        child.stdout.take().map(|out| spawn_copy(shared, service, out)),
        child.stderr.take().map(|err| spawn_copy(shared, service, err)),
    ];
    let mut deadline: Option<Duration> = None;
    let status = loop {
        let left = deadline.map(|at| at.saturating_sub(shared.clock.now()));
        tokio::select! {
            status = child.wait() => break status,
            Some(command) = inbox.recv() => match command {
                ProcessCommand::Stop(grace) => {
                    deadline = Some(shared.clock.now() + grace);
                    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
                ProcessCommand::Kill => { let _ = child.start_kill(); }
            },
            () = sleep(left.unwrap_or(Duration::from_secs(3600))), if left.is_some() => {
                let _ = child.start_kill();
                deadline = None;
            }
        }
    };
    // Its last lines must be there before its end is reported.
    for stream in streams.into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(1), stream).await;
    }
    status.map_or(-1, |status| exit_code(&status))
}

fn spawn_copy(
    shared: &Arc<Shared>,
    service: &str,
    stream: impl AsyncRead + Unpin + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let (shared, service) = (Arc::clone(shared), service.to_owned());
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            shared.log_line(&service, &line);
        }
    })
}

fn exit_code(status: &ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
