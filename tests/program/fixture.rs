//! A testbed with the releases of these tests.

use crate::target_posts::posted_commit;
use baseos_interfaces::admin::{CreateJoinToken, NodeRecord};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::{Check, LocalStatus, Lock, LockRequest, LockScope};
use baseos_interfaces::rules::{GUARD_PROGRAM, GUARD_SERVICE};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::{
    Error, Programs, Result, TestRelease, Testbed, TestbedOptions, ensure, wait_until,
};
use baseos_simulator::supervisor::{Behaviour, Image};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// More than anything takes on a busy computer; a test that needs it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The device is delivered with it.
pub(crate) const V1: &str = "a1a1a1a1";
/// Replaces Onebox.
pub(crate) const V2: &str = "b2b2b2b2";
/// Replaces Onebox once more.
pub(crate) const V3: &str = "c3c3c3c3";
/// Its Onebox ends.
pub(crate) const BAD: &str = "bad0bad0";

/// Fast, and the agent asks the Supervisor each second.
pub(crate) fn options() -> TestbedOptions {
    let programs =
        Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap_or_else(|error| panic!("{error}"));
    TestbedOptions::new(programs).with_agent_variable("BASEOS_SUPERVISOR_POLL", "1s")
}

/// The update to `V2` takes three seconds, so that something can happen meanwhile.
pub(crate) fn with_slow_v2(options: TestbedOptions) -> TestbedOptions {
    options.with_image("onebox:2", Image::new(Behaviour::Runs, 3000))
}

pub(crate) fn release(commit: &str) -> TestRelease {
    match commit {
        V1 => TestRelease::new(V1, "1.0.0", "onebox:1"),
        V2 => TestRelease::new(V2, "2.0.0", "onebox:2"),
        V3 => TestRelease::new(V3, "3.0.0", "onebox:3"),
        BAD => TestRelease::new(BAD, "0.0.1", "onebox:breaks"),
        other => panic!("no release {other} in these tests"),
    }
}

/// One second of health, half a minute for an apply.
pub(crate) fn policy() -> Policy {
    Policy {
        health_seconds: 1,
        apply_timeout_seconds: 30,
        ..Policy::default()
    }
}

pub(crate) fn lock_request(scope: LockScope, ttl_seconds: u32) -> LockRequest {
    LockRequest {
        reason: "backup running".into(),
        ttl_seconds,
        scope,
    }
}

pub(crate) fn has_issue(node: &NodeRecord, code: &str) -> bool {
    let issues = node.status.as_ref().map(|status| &status.health.issues);
    issues.is_some_and(|issues| issues.iter().any(|issue| issue.code == code))
}

/// Whether the update waits for this.
pub(crate) fn is_blocked_by(node: &NodeRecord, kind: BlockerKind) -> bool {
    let blockers = node.status.as_ref().map(|status| &status.update.blocked_by);
    blockers.is_some_and(|blockers| blockers.iter().any(|blocker| blocker.kind == kind))
}

/// The agent's program with its own directories and an otherwise empty environment.
pub(crate) fn agent_command(state_dir: &Path, run_dir: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_baserunner"));
    command
        .env_clear()
        .env("BASEOS_STATE_DIR", state_dir)
        .env("BASEOS_RUN_DIR", run_dir)
        .env("BASEOS_ALLOW_HTTP", "1")
        .kill_on_drop(true);
    command
}

/// Standard error and output as text.
pub(crate) fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

pub(crate) struct Fixture(Testbed);

impl Deref for Fixture {
    type Target = Testbed;

    fn deref(&self) -> &Testbed {
        &self.0
    }
}

impl DerefMut for Fixture {
    fn deref_mut(&mut self) -> &mut Testbed {
        &mut self.0
    }
}

impl Fixture {
    /// An enrolled agent that runs `V1` and has applied it, so that there is a release to roll back to.
    pub(crate) async fn start(options: TestbedOptions) -> Result<Self> {
        let fixture = Self::start_without_releases(options).await?;
        fixture.publish_and_apply_v1().await?;
        fixture.wait_guard("baserunner:1", V1).await?;
        // The Supervisor holds its locks until the guard's target is applied.
        fixture.wait_runs(V1, LIMIT).await?;
        // The post that added the guard is not what these tests are about.
        fixture.device.clear_requests();
        Ok(fixture)
    }

    /// Waits until the guard runs this image, in its own program, and holds this release.
    pub(crate) async fn wait_guard(&self, image: &str, holds: &str) -> Result<()> {
        let expected = format!("the guard runs {image} and holds {holds}");
        let outcome = wait_until(&expected, LIMIT, async || {
            let report = self.guard_report();
            let held = report["held"]["commit"].as_str();
            let runs = self.device.with_model(|model, _| {
                let guard = model.container(GUARD_SERVICE)?;
                Some((guard.config.image.clone(), guard.status()))
            });
            let is_there = runs
                .as_ref()
                .is_some_and(|(runs, status)| runs == image && *status == "Running");
            let program = self.guard_program();
            let is_itself = program.as_deref() == Some(GUARD_PROGRAM);
            ensure(is_there && is_itself && held == Some(holds), || {
                format!("{runs:?}, {program:?}, {held:?}")
            })
        });
        outcome
            .await
            .map_err(|error| Error::new(format!("{error}\n{}", self.diagnostics())))
    }

    /// The name of the program that the guard's process runs.
    pub(crate) fn guard_program(&self) -> Option<String> {
        let pid = self.device.pid(GUARD_SERVICE)?;
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some(program.file_name()?.to_str()?.to_owned())
    }

    /// What the guard has written.
    pub(crate) fn guard_report(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.state_dir().join("guard-report.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) async fn start_without_releases(options: TestbedOptions) -> Result<Self> {
        Testbed::start(options).await.map(Self)
    }

    /// Publishes all releases of these tests; `V1`, which runs already, becomes the desired one.
    pub(crate) async fn publish_and_apply_v1(&self) -> Result<NodeRecord> {
        for commit in [V1, V2, V3, BAD] {
            self.publish(&release(commit)).await?;
        }
        self.desire(V1).await?;
        self.wait_update_ended(UpdateState::Succeeded, V1, V1).await
    }

    /// Makes a release the desired one, with [`policy`]; returns the revision.
    pub(crate) async fn desire(&self, commit: &str) -> Result<u64> {
        self.set_desired(Some(commit), policy()).await
    }

    /// Waits until Cloudly shows that an update has ended, and what runs then.
    pub(crate) async fn wait_update_ended(
        &self,
        state: UpdateState,
        target: &str,
        running: &str,
    ) -> Result<NodeRecord> {
        let expected = format!("the update to {target} ended as {state}, {running} runs");
        self.wait_node(&expected, LIMIT, |node| {
            node.status.as_ref().is_some_and(|status| {
                status.update.state == state
                    && status.update.target.as_deref() == Some(target)
                    && status.running() == Some(running)
            })
        })
        .await
    }

    pub(crate) async fn wait_update_succeeded(&self, commit: &str) -> Result<NodeRecord> {
        self.wait_update_ended(UpdateState::Succeeded, commit, commit)
            .await
    }

    /// Waits until the agent's own status shows an update in this state.
    pub(crate) async fn wait_update_state(&self, state: UpdateState, target: &str) -> Result<LocalStatus> {
        self.wait_agent(&format!("the update to {target} is {state}"), LIMIT, |status| {
            status.update.state == state && status.update.target.as_deref() == Some(target)
        })
        .await
    }

    /// Waits until the agent was started this often and is connected to Cloudly.
    pub(crate) async fn wait_agent_started(&self, starts: u64) -> Result<LocalStatus> {
        let expected = format!("the agent was started {starts} times and is connected");
        self.wait_agent(&expected, LIMIT, |status| {
            self.device.starts("baserunner") >= starts && status.cloudly.connected
        })
        .await
    }

    /// Waits until Cloudly shows how often the agent was restarted.
    pub(crate) async fn wait_restart_count(&self, restarts: u32) -> Result<NodeRecord> {
        self.wait_node(&format!("{restarts} restarts"), LIMIT, |node| {
            let status = node.status.as_ref();
            status.is_some_and(|status| status.agent.restart_count == restarts)
        })
        .await
    }

    /// Waits until the agent's status shows whether the Supervisor is available.
    pub(crate) async fn wait_supervisor_available(&self, available: bool) -> Result<LocalStatus> {
        let expected = format!("the Supervisor is available: {available}");
        self.wait_agent(&expected, LIMIT, |status| {
            status.supervisor.available == Some(available)
        })
        .await
    }

    /// Waits until the agent's status shows whether it is connected to Cloudly.
    pub(crate) async fn wait_connected(&self, connected: bool) -> Result<LocalStatus> {
        let expected = format!("connected to Cloudly: {connected}");
        self.wait_agent(&expected, LIMIT, |status| status.cloudly.connected == connected)
            .await
    }

    /// A check of the doctor that is not in order.
    pub(crate) async fn failed_check(&self, name: &str) -> Check {
        let checks = self.agent.doctor().await.unwrap().checks;
        let check = checks.into_iter().find(|check| check.name == name).unwrap();
        assert!(!check.ok, "{check:?}");
        check
    }

    /// Takes the lock `backup`.
    pub(crate) async fn lock(&self, scope: LockScope, ttl_seconds: u32) -> Result<Lock> {
        let request = lock_request(scope, ttl_seconds);
        self.agent.lock("backup", &request).await
    }

    /// Runs a command of the agent's program on the device.
    pub(crate) async fn run_command(&self, args: &[&str]) -> Output {
        let mut command = agent_command(&self.state_dir(), &self.device.run_dir());
        command.env("BASEOS_CLOUDLY_URL", self.cloudly.url()).args(args);
        command.output().await.unwrap()
    }

    pub(crate) async fn new_join_token(&self) -> String {
        let request = CreateJoinToken::default();
        let created = self.cloudly.create_join_token(&request).await.unwrap();
        created.token.expose().to_owned()
    }

    /// How updates to this commit ended, as reported to Cloudly, oldest first.
    pub(crate) async fn reported_ends(&self, commit: &str) -> Result<Vec<String>> {
        let node = self.node().await?;
        let mut ends: Vec<_> = self
            .cloudly
            .events(&node.id)
            .await?
            .into_iter()
            .map(|record| record.event)
            .filter(|event| event.kind == "updateFinished" && event.data["target"] == commit)
            .map(|event| event.data["state"].as_str().unwrap_or("?").to_owned())
            .collect();
        ends.reverse();
        Ok(ends)
    }

    /// How often this commit was posted to the Supervisor.
    pub(crate) fn count_posts(&self, commit: &str) -> usize {
        let requests = self.device.requests();
        let posted = requests.iter().filter_map(posted_commit);
        posted.filter(|posted| posted == commit).count()
    }

    /// The update-lock files of the agent's service.
    pub(crate) fn lock_files(&self) -> Vec<PathBuf> {
        let dir = self.device.lock_dir(1, "baserunner");
        let Ok(files) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        files.flatten().map(|file| file.path()).collect()
    }
}
