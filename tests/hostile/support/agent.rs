//! The real agent as a process, with its own directory, environment and log.

use crate::support::{LIMIT, SUPERVISOR_KEY};
use baseos_interfaces::local::LocalStatus;
use baseos_interfaces::token::{Token, TokenKind};
use baseos_simulator::harness::{Error, LocalApi, Result, Slot, read_state, slot_for_agent};
use baseos_simulator::text::last_lines;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::process::{Child, Command};

/// No answer may make the agent larger than this.
const MAX_RSS_KIB: u64 = 32 * 1024;

/// A token that is different each time.
pub(crate) fn mint(kind: TokenKind) -> Token {
    static LAST: AtomicU32 = AtomicU32::new(1);
    let mut seed = LAST.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761);
    Token::mint(kind, |bytes| {
        for byte in bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = seed.to_be_bytes()[0];
        }
    })
}

/// Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AgentProcess {
    dir: tempfile::TempDir,
    pub(crate) env: BTreeMap<String, String>,
    child: Option<Child>,
    slot: Option<Slot>,
}

impl AgentProcess {
    /// An agent with empty directories, without Cloudly and Supervisor; not started yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("baseos-agent-")
            .tempdir()
            .unwrap();
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
            ("BASEOS_NODE_NAME", "hostile-test"),
            ("BASEOS_SUPERVISOR_POLL", "1s"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        Self {
            dir,
            env,
            child: None,
            slot: None,
        }
    }

    /// A started agent without Cloudly and Supervisor.
    pub(crate) async fn started() -> Self {
        let mut agent = Self::new();
        agent.start().await;
        agent
    }

    /// With a variable of its environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn with_cloudly(self, url: &str, join_token: &Token) -> Self {
        self.with("BASEOS_CLOUDLY_URL", url)
            .with("BASEOS_JOIN_TOKEN", join_token.expose())
    }

    pub(crate) fn with_supervisor(self, url: &str) -> Self {
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
    pub(crate) async fn start(&mut self) {
        if self.slot.is_none() {
            self.slot = Some(slot_for_agent().await);
        }
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
        self.wait("the local API answers", |_| true).await.unwrap();
    }

    /// SIGKILL; waits for the end of the process.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// SIGTERM; returns the exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()?).ok()?)?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().await.unwrap().code()
    }

    /// Runs a command of the agent's program with the same environment.
    pub(crate) async fn run_command(&self, args: &[&str]) -> Output {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        tokio::time::timeout(LIMIT, command.output())
            .await
            .expect("the command ends")
            .unwrap()
    }

    /// Fails when the agent has ended.
    pub(crate) fn pid(&mut self) -> u32 {
        let child = self.child.as_mut().expect("the agent was started");
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the agent ended: {ended:?}\n{}", self.log_tail());
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// Peak of the resident memory.
    fn peak_rss_kib(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn open_descriptors(&mut self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// It runs, has not grown, and answers.
    pub(crate) async fn check_health(&mut self) -> Result<()> {
        let peak = self.peak_rss_kib();
        if peak > MAX_RSS_KIB {
            return Err(Error::new(format!("{peak} KiB resident\n{}", self.log_tail())));
        }
        self.api().status().await.map(drop)
    }

    pub(crate) fn api(&self) -> LocalApi {
        LocalApi::new(self.run_dir())
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("locks")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its `state.json`.
    pub(crate) fn state(&self) -> serde_json::Value {
        read_state(&self.state_dir()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// For messages.
    pub(crate) fn log_tail(&self) -> String {
        last_lines(&self.log(), 20)
    }

    /// Waits until its status fulfils a condition.
    pub(crate) async fn wait(
        &self,
        expected: &str,
        condition: impl Fn(&LocalStatus) -> bool,
    ) -> Result<LocalStatus> {
        let outcome = self.api().wait_status(expected, LIMIT, condition).await;
        outcome.map_err(|error| Error::new(format!("{error}\n{}", self.log_tail())))
    }

    pub(crate) async fn wait_connected(&self) -> Result<()> {
        let connected = self.wait("connected to Cloudly", |status| status.cloudly.connected);
        connected.await.map(drop)
    }
}
