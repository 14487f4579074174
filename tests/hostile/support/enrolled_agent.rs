//! An enrolled agent between a scripted Cloudly and a simulated Supervisor.

use crate::support::agent::AgentProcess;
use crate::support::scripted_server::{NODE_ID, ScriptedServer, heartbeat_answer, json_reply, now};
use crate::support::{LIMIT, SUPERVISOR_KEY};
use baseos_simulator::device::{Device, DeviceConfig, LoggedRequest};
use baseos_simulator::harness::{TestRelease, ensure, wait_until};
use baseos_simulator::supervisor::{Behaviour, Config, Image, Registry, Timing};
use serde_json::{Value, json};

/// The device runs [`release_1`]; the agent sends a heartbeat each second.
pub(crate) struct EnrolledAgent {
    pub(crate) cloudly: ScriptedServer,
    pub(crate) device: Device,
    pub(crate) agent: AgentProcess,
}

/// A device with the Supervisor's key of these tests.
pub(crate) async fn start_device() -> Device {
    let image = Image::new(Behaviour::Runs, 50);
    let registry = ["baserunner:1", "onebox:1", "onebox:2"]
        .into_iter()
        .fold(Registry::default(), |all, name| all.with(name, image.clone()));
    let supervisor = Config {
        api_key: SUPERVISOR_KEY.to_owned(),
        timing: Timing::fast(),
        ..Config::default()
    };
    let config = DeviceConfig {
        supervisor,
        registry,
        ..DeviceConfig::default()
    };
    Device::start(config).await.unwrap()
}

impl EnrolledAgent {
    pub(crate) async fn start() -> Self {
        let device = start_device().await;
        device.post_target(&release_1().local_target("hostile-test"));
        let cloudly = ScriptedServer::start().await;
        let mut agent = AgentProcess::new()
            .with_cloudly(&cloudly.url(), &cloudly.join_token)
            .with_supervisor(&device.supervisor_url())
            .with("BALENA_APP_ID", "1")
            .with("BALENA_SERVICE_NAME", "baserunner");
        agent.start().await;
        let ready = agent.wait("connected to both", |status| {
            status.cloudly.connected && status.running.as_deref() == Some(COMMIT_1)
        });
        ready.await.unwrap();
        Self {
            cloudly,
            device,
            agent,
        }
    }

    /// Answers heartbeats with these members from now on; other members as usual.
    pub(crate) fn answer_heartbeats_with(&self, members: Value) {
        self.cloudly.set_script(move |request| {
            let mut answer = heartbeat_answer();
            for (name, value) in members.as_object()? {
                answer[name] = value.clone();
            }
            request
                .path
                .ends_with("/heartbeat")
                .then(|| json_reply("200 OK", &answer))
        });
    }

    /// Sets what Cloudly desires.
    pub(crate) fn set_desired(&self, desired: &Value) {
        self.answer_heartbeats_with(json!({ "desired": desired }));
    }

    /// Waits until the agent has processed the answers to this many more heartbeats: the next one has come.
    pub(crate) async fn wait_heartbeats(&self, count: usize) {
        let before = self.cloudly.heartbeats().len();
        let look = async || {
            let more = self.cloudly.heartbeats().len() - before;
            ensure(more > count, || format!("{more} of {count}"))
        };
        wait_until("heartbeats", LIMIT, look).await.unwrap();
    }

    pub(crate) async fn wait_runs(&self, commit: &str) {
        let what = format!("{commit} runs");
        let runs = self.agent.wait(&what, |status| {
            status.running.as_deref() == Some(commit) && status.cloudly.connected
        });
        runs.await.unwrap();
    }

    /// How often another release than before was posted: the post that adds the guard to the release that runs is not
    /// counted.
    pub(crate) fn count_posted_targets(&self) -> usize {
        let commit = |request: &LoggedRequest| {
            let is_post = request.method == "POST" && request.path == "/v2/local/target-state";
            let body: Value = serde_json::from_str(&request.body).ok()?;
            let app = body["local"]["apps"].as_object()?.values().next()?.clone();
            let commit = app["commit"].as_str()?.to_owned();
            (is_post && request.reached_the_supervisor()).then_some(commit)
        };
        let mut commits: Vec<_> = self.device.requests().iter().filter_map(commit).collect();
        commits.dedup();
        commits.len()
    }

    pub(crate) async fn assert_healthy(&mut self) {
        self.agent.check_health().await.unwrap();
        let handshake = self.agent.api().handshake().await.unwrap();
        assert_eq!(handshake.node_id.as_deref(), Some(NODE_ID));
    }
}

const COMMIT_1: &str = "a1a1a1a1";

/// The release that the device is delivered with.
pub(crate) fn release_1() -> TestRelease {
    TestRelease::new(COMMIT_1, "1.0.0", "onebox:1")
}

/// A newer release.
pub(crate) fn release_2() -> TestRelease {
    TestRelease::new("b2b2b2b2", "2.0.0", "onebox:2")
}

/// The member `desired` of an answer to a heartbeat, with a change to its app.
pub(crate) fn desired(revision: u64, release: &TestRelease, change: impl FnOnce(&mut Value)) -> Value {
    let body = release.create_request();
    let mut app = json!({
        "releaseId": format!("rel_{}", body.commit), "commit": body.commit, "version": body.version,
        "services": body.services, "volumes": body.volumes, "networks": {},
        "policy": { "healthSeconds": 1, "applyTimeoutSeconds": 30 },
    });
    change(&mut app);
    json!({ "revision": revision, "issuedAt": now(), "app": app, "hostOs": null })
}
