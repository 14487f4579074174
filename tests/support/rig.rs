//! The real agent as a process of its own, with a directory, an environment and a log of its own.

use baseos_interfaces::token::{Token, TokenKind};
use baseos_simulator::harness::{Agent, Error, read_state, wait_until};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Generous: the machine that runs the tests has other things to do too.
pub const SOON: Duration = Duration::from_secs(30);
/// No answer of anybody may make the agent larger than this.
pub const RSS_MAX_KIB: u64 = 32 * 1024;
/// The Supervisor's key in these tests.
pub const SUPERVISOR_KEY: &str = "c0ffee11deadbeef5f0e1d2c3b4a5968";

/// A token nobody else has.
pub fn mint(kind: TokenKind) -> Token {
    static LAST: AtomicU32 = AtomicU32::new(1);
    let mut seed = LAST.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761);
    Token::mint(kind, |bytes| {
        for byte in bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = seed.to_be_bytes()[0];
        }
    })
}

/// An agent and what belongs to it; ends with this.
#[derive(Debug)]
pub struct Rig {
    dir: tempfile::TempDir,
    pub env: BTreeMap<String, String>,
    child: Option<Child>,
}

impl Rig {
    /// An agent with empty directories that knows no Cloudly and no Supervisor; not started yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("baseos-rig-").tempdir().unwrap();
        let mut env = BTreeMap::new();
        for (name, sub) in [
            ("BASEOS_STATE_DIR", "state"),
            ("BASEOS_RUN_DIR", "run"),
            ("BASEOS_LOCK_DIR", "locks"),
        ] {
            let path = dir.path().join(sub);
            std::fs::create_dir(&path).unwrap();
            env.insert(name.to_owned(), path.display().to_string());
        }
        for (name, value) in [
            ("BASEOS_ALLOW_HTTP", "1"),
            ("BASEOS_NODE_NAME", "rig"),
            ("BASEOS_SUPERVISOR_POLL", "1s"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        Self {
            dir,
            env,
            child: None,
        }
    }

    /// With one more variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// That enrols there.
    pub fn with_cloudly(self, url: &str, join: &Token) -> Self {
        self.with("BASEOS_CLOUDLY_URL", url)
            .with("BASEOS_JOIN_TOKEN", join.expose())
    }

    /// That has this Supervisor.
    pub fn with_supervisor(self, url: &str) -> Self {
        self.with("BALENA_SUPERVISOR_ADDRESS", url)
            .with("BALENA_SUPERVISOR_API_KEY", SUPERVISOR_KEY)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baserunner"));
        command
            .env_clear()
            .envs(&self.env)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the agent and waits until its local API answers.
    pub async fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let child = self
            .command()
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let answers = wait_until("the local API answers", SOON, async || {
            self.api()
                .status()
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        });
        let answers = answers.await;
        assert!(answers.is_ok(), "{answers:?}\n{}", self.tail());
    }

    /// SIGKILL, and wait.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// SIGTERM, and its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()?).ok()?)?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().await.unwrap().code()
    }

    /// Runs a command of the program beside the agent.
    pub async fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        tokio::time::timeout(SOON, command.output())
            .await
            .expect("the command ends")
            .unwrap()
    }

    /// The process id; fails when the agent has ended.
    pub fn pid(&mut self) -> u32 {
        let child = self.child.as_mut().expect("the agent was started");
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the agent ended: {ended:?}\n{}", self.tail());
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// The most memory it ever had resident, KiB.
    pub fn peak_kib(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Open file descriptors.
    pub fn descriptors(&mut self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// It lives, has not grown, and answers.
    pub async fn is_well(&mut self) -> Result<(), Error> {
        let peak = self.peak_kib();
        if peak > RSS_MAX_KIB {
            return Err(Error::because(format!("{peak} KiB resident\n{}", self.tail())));
        }
        self.api().status().await.map(drop)
    }

    /// Its local API.
    pub fn api(&self) -> Agent {
        Agent::new(self.run_dir())
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("locks")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `state.json`.
    pub fn state(&self) -> serde_json::Value {
        read_state(&self.state_dir()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    /// All it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The end of it, for messages.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Waits until its status is so.
    pub async fn wait(
        &self,
        what: &str,
        is_so: impl Fn(&baseos_interfaces::local::LocalStatus) -> bool,
    ) -> Result<baseos_interfaces::local::LocalStatus, Error> {
        let looked = wait_until(what, SOON, async || {
            let status = self.api().status().await.map_err(|error| error.to_string())?;
            if is_so(&status) {
                Ok(status)
            } else {
                Err(format!("{}: {}", status.state, status.summary))
            }
        });
        looked
            .await
            .map_err(|error| Error::because(format!("{error}\n{}", self.tail())))
    }
}
