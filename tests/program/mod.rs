//! What the whole-program tests share: a stage in a known state, and what must hold after each of them.

pub mod launcher;

use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::LocalStatus;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::device::Logged;
use baseos_simulator::harness::{
    Error, Programs, Result, Stage, StageOptions, Version, read_state, wait_until,
};
use baseos_simulator::json::Json;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// Much longer than anything takes; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const V1: &str = "a1a1a1a1";
pub const V2: &str = "b2b2b2b2";
pub const V3: &str = "c3c3c3c3";
pub const BAD: &str = "bad0bad0";
const TARGET: &str = "/v2/local/target-state";

/// The agent under test, and Cloudly beside it.
pub fn programs() -> Programs {
    Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap_or_else(|error| panic!("{error}"))
}

/// A fast world that is looked at each second.
pub fn options() -> StageOptions {
    let mut options = StageOptions::new(programs());
    options
        .agent_environment
        .insert("BASEOS_SUPERVISOR_POLL".to_owned(), "1s".to_owned());
    options
}

/// The releases of these tests: `V2` replaces Onebox, `V3` Onebox once more, `BAD` has an Onebox that ends.
pub fn release(commit: &str) -> Version {
    match commit {
        V1 => Version::new(V1, "1.0.0", "onebox:1"),
        V2 => Version::new(V2, "2.0.0", "onebox:2"),
        V3 => Version::new(V3, "3.0.0", "onebox:3"),
        BAD => Version::new(BAD, "0.0.1", "onebox:crashes").with_onebox_restart("no"),
        other => panic!("no release {other} in these tests"),
    }
}

/// One second of health, half a minute for an apply.
pub fn policy() -> Policy {
    Policy {
        health_seconds: 1,
        apply_timeout_seconds: 30,
        ..Policy::default()
    }
}

/// Whether the last update towards this commit ended so, and what runs is this.
pub fn ended(node: &NodeRecord, state: UpdateState, target: &str, running: &str) -> bool {
    node.status.as_ref().is_some_and(|status| {
        status.update.state == state
            && status.update.target.as_deref() == Some(target)
            && status.release.running.as_deref() == Some(running)
    })
}

/// Whether Cloudly was told of an issue.
pub fn has_issue(node: &NodeRecord, code: &str) -> bool {
    let issues = node.status.as_ref().map(|status| &status.health.issues);
    issues.is_some_and(|issues| issues.iter().any(|issue| issue.code == code))
}

/// What these tests do with a stage.
pub trait Deeds {
    /// Publishes every release of these tests, and desires the first, which runs already: now there is one to go
    /// back to.
    fn settle(&self) -> impl Future<Output = Result<NodeRecord>>;
    /// Desires a release.
    fn want(&self, commit: &str) -> impl Future<Output = Result<u64>>;
    /// Waits until an update has ended so in Cloudly's eyes.
    fn wait_ended(
        &self,
        state: UpdateState,
        target: &str,
        running: &str,
    ) -> impl Future<Output = Result<NodeRecord>>;
    /// Waits until the agent of its own account is in a state of an update.
    fn wait_phase(&self, state: UpdateState, target: &str) -> impl Future<Output = Result<LocalStatus>>;
    /// Waits until the agent was started so often and answers, and Cloudly has heard it.
    fn wait_started(&self, starts: u64) -> impl Future<Output = Result<LocalStatus>>;
    /// Runs the agent's command line as somebody at the device would.
    fn command(&self, args: &[&str]) -> impl Future<Output = Output>;
    /// How often Cloudly was told that an update towards this commit ended, and how.
    fn endings(&self, target: &str) -> impl Future<Output = Result<Vec<String>>>;
    /// The update-lock files of the agent's service that are there.
    fn lock_files(&self) -> Vec<PathBuf>;
    /// What must hold after everything: no identity lost, no lock file without owner, nothing done twice, Cloudly
    /// shows the truth.
    fn sound(&self) -> impl Future<Output = Result<()>>;
    /// The same, or the test fails.
    fn assert_sound(&self) -> impl Future<Output = ()>;
}

impl Deeds for Stage {
    async fn settle(&self) -> Result<NodeRecord> {
        for commit in [V1, V2, V3, BAD] {
            self.publish(&release(commit)).await?;
        }
        self.want(V1).await?;
        self.wait_ended(UpdateState::Succeeded, V1, V1).await
    }

    async fn want(&self, commit: &str) -> Result<u64> {
        self.desire(Some(commit), policy()).await
    }

    async fn wait_ended(&self, state: UpdateState, target: &str, running: &str) -> Result<NodeRecord> {
        let what = format!("the update to {target} ended as {state}, {running} runs");
        self.wait_node(&what, PATIENCE, |node| ended(node, state, target, running))
            .await
    }

    async fn wait_phase(&self, state: UpdateState, target: &str) -> Result<LocalStatus> {
        self.wait_agent(
            &format!("the update to {target} is {state}"),
            PATIENCE,
            |status| status.update.state == state && status.update.target.as_deref() == Some(target),
        )
        .await
    }

    async fn wait_started(&self, starts: u64) -> Result<LocalStatus> {
        let what = format!("the agent was started {starts} times and is in touch");
        self.wait_agent(&what, PATIENCE, |status| {
            self.device.starts("baserunner") >= starts && status.cloudly.connected
        })
        .await
    }

    async fn command(&self, args: &[&str]) -> Output {
        agent_command(&self.state_dir(), &self.device.run_dir())
            .env("BASEOS_CLOUDLY_URL", self.cloudly.url())
            .args(args)
            .output()
            .await
            .unwrap_or_else(|error| panic!("the agent's command line does not start: {error}"))
    }

    async fn endings(&self, target: &str) -> Result<Vec<String>> {
        let node = self.node().await?;
        let of_target = |event: &serde_json::Value| event["target"] == target;
        let mut endings: Vec<_> = self
            .cloudly
            .events(&node.id)
            .await?
            .into_iter()
            .filter(|record| record.event.kind == "updateFinished" && of_target(&record.event.data))
            .map(|record| record.event.data["state"].as_str().unwrap_or("?").to_owned())
            .collect();
        endings.reverse();
        Ok(endings)
    }

    fn lock_files(&self) -> Vec<PathBuf> {
        let dir = self.device.lock_dir(1, "baserunner");
        let Ok(files) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        files.flatten().map(|file| file.path()).collect()
    }

    async fn sound(&self) -> Result<()> {
        sound(self).await
    }

    async fn assert_sound(&self) {
        if let Err(error) = self.sound().await {
            panic!("{error}\n{}", self.diagnostics());
        }
    }
}

async fn sound(stage: &Stage) -> Result<()> {
    let node = wait_until("Cloudly shows what the device runs", PATIENCE, async || {
        let node = stage.node().await.map_err(|error| error.to_string())?;
        match lie(stage, &node) {
            None => Ok(node),
            Some(lie) => Err(lie),
        }
    })
    .await?;
    let state = read_state(&stage.state_dir())?;
    let stored = &state["checkpoint"]["book"]["node"]["id"];
    if stored != node.id.as_str() {
        return Err(Error::because(format!(
            "Cloudly has {}, the disk has {stored}",
            node.id
        )));
    }
    let locks = stage.agent.locks().await?;
    let files = stage.lock_files();
    if locks.locks.is_empty() != files.is_empty() {
        return Err(Error::because(format!(
            "leases {:?}, but lock files {files:?}",
            locks.locks
        )));
    }
    match posted_blindly(&stage.device.requests()) {
        None => Ok(()),
        Some(commit) => Err(Error::because(format!(
            "{commit} was posted twice without a look in between"
        ))),
    }
}

/// Where Cloudly's picture of the node differs from the device.
fn lie(stage: &Stage, node: &NodeRecord) -> Option<String> {
    let truth = stage.device.status();
    let Some(status) = &node.status else {
        return Some("Cloudly has no status".to_owned());
    };
    let release = truth.get("release").and_then(Json::as_str).map(str::to_owned);
    if status.release.running != release {
        return Some(format!(
            "{release:?} runs, Cloudly has {:?}",
            status.release.running
        ));
    }
    for row in truth.get("containers").map(Json::items).unwrap_or_default() {
        let text = |name: &str| {
            row.get(name)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (service, real) = (text("serviceName"), text("status"));
        let told = status
            .release
            .services
            .get(&service)
            .map(|told| told.status.clone());
        if told.as_ref() != Some(&real) {
            return Some(format!("{service} is {real}, Cloudly has {told:?}"));
        }
    }
    None
}

/// A commit that was handed to the Supervisor twice in a row although nobody looked in between.
fn posted_blindly(requests: &[Logged]) -> Option<String> {
    let mut last: Option<String> = None;
    for request in requests.iter().filter(|request| request.path == TARGET) {
        if request.method == "GET" {
            last = None;
        } else if request.has_effect() {
            let commit = commit_of(&request.body)?;
            if last.as_ref() == Some(&commit) {
                return Some(commit);
            }
            last = Some(commit);
        }
    }
    None
}

/// How often a commit was handed to the Supervisor.
pub fn posts(stage: &Stage, commit: &str) -> usize {
    let requests = stage.device.requests();
    let of_commit = |request: &&Logged| {
        request.method == "POST"
            && request.path == TARGET
            && request.has_effect()
            && commit_of(&request.body).as_deref() == Some(commit)
    };
    requests.iter().filter(of_commit).count()
}

fn commit_of(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let app = body["local"]["apps"].as_object()?.values().next()?;
    app["commit"].as_str().map(str::to_owned)
}

/// The agent's program with directories of its own, and nothing else in its environment.
pub fn agent_command(state_dir: &Path, run_dir: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_baserunner"));
    command
        .env_clear()
        .env("BASEOS_STATE_DIR", state_dir)
        .env("BASEOS_RUN_DIR", run_dir)
        .env("BASEOS_ALLOW_HTTP", "1")
        .kill_on_drop(true);
    command
}
