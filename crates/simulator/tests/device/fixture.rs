//! A device with a shell script in the agent's place.

use baseos_simulator::device::{Device, DeviceConfig};
use baseos_simulator::harness::{Address, Response, Result, TestRelease, call, ensure, wait_until};
use baseos_simulator::supervisor::{Behaviour, Image, Registry};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More than anything takes; a test that needs it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const V1: &str = "a1a1a1a1";
pub(crate) const V2: &str = "b2b2b2b2";

/// Writes its environment to a file and exits on SIGTERM.
const SCRIPT: &str = "#!/bin/sh
env > \"$BASEOS_RUN_DIR/env\"
trap 'echo goodbye; exit 0' TERM
echo hello
while :; do sleep 0.05; done
";

pub(crate) struct Fixture {
    pub(crate) device: Device,
    _script_dir: tempfile::TempDir,
}

impl Fixture {
    /// A device whose Supervisor has no target.
    pub(crate) async fn start() -> Self {
        let script_dir = tempfile::tempdir().unwrap();
        let crashes = Behaviour::Exits {
            after_millis: 50,
            code: 1,
        };
        let registry = Registry::default()
            .with("onebox:1", Image::new(Behaviour::Runs, 50))
            .with("onebox:2", Image::new(Behaviour::Runs, 50))
            .with("onebox:crashes", Image::new(crashes, 50))
            .with("baserunner:1", Image::agent(50))
            .with("baserunner:2", Image::agent(50));
        let config = DeviceConfig {
            registry,
            program: Some(write_script(script_dir.path())),
            ..DeviceConfig::fast()
        };
        Self {
            device: Device::start(config).await.unwrap(),
            _script_dir: script_dir,
        }
    }

    /// A device that runs `V1`, with its agent's first line in the log.
    pub(crate) async fn running() -> Self {
        let fixture = Self::start().await;
        fixture.post(&TestRelease::new(V1, "1", "onebox:1"));
        fixture.wait_runs(V1).await;
        fixture.wait_agent_line("hello", 1).await;
        fixture
    }

    pub(crate) fn post(&self, release: &TestRelease) {
        self.device.post_target(&release.local_target("device"));
    }

    pub(crate) async fn wait_runs(&self, commit: &str) {
        let look = async || ensure(self.device.runs(commit), || self.device.status().to_text());
        wait_until(&format!("{commit} runs"), LIMIT, look)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.device.supervisor_log()));
    }

    /// Waits until the agent's log has this line at least so often.
    pub(crate) async fn wait_agent_line(&self, line: &str, count: usize) {
        let look = async || {
            let log = self.device.log_tail("baserunner", 100);
            ensure(log.matches(line).count() >= count, || log)
        };
        wait_until(line, LIMIT, look).await.unwrap();
    }

    /// Calls the Supervisor.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Result<Response> {
        let address = Address::parse(&self.device.supervisor_url())?;
        call(&address, method, path, None, body.map(str::to_owned)).await
    }

    pub(crate) async fn wait_port_open(&self) {
        let look = async || {
            let answer = self.call("GET", "/ping", None).await;
            answer.map_err(|error| error.to_string())
        };
        wait_until("the port is open", LIMIT, look).await.unwrap();
    }

    pub(crate) async fn wait_port_closed(&self) {
        let look = async || {
            let answer = self.call("GET", "/ping", None).await;
            ensure(answer.is_err(), || format!("{answer:?}"))
        };
        wait_until("the port is closed", LIMIT, look).await.unwrap();
    }
}

fn write_script(dir: &Path) -> PathBuf {
    let file = dir.join("agent.sh");
    std::fs::write(&file, SCRIPT).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}
