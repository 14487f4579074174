//! Cloudly, a device, and the agent on it, about to enrol.

use crate::device::{Device, DeviceConfig, OnLine};
use crate::harness::cloudly::{Cloudly, CloudlyConfig};
use crate::harness::error::{Error, Result};
use crate::harness::local_api::LocalApi;
use crate::harness::programs::Programs;
use crate::harness::release::{APP_ID, TestRelease};
use crate::harness::slots::{Slot, slot_for_testbed};
use crate::harness::wait::{ensure, wait_until};
use crate::supervisor::{Behaviour, Config, Image, Registry, Timing};
use baseos_interfaces::admin::{CreateJoinToken, NodeRecord, ReleaseRecord, SetDesired};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::LocalStatus;
use baseos_interfaces::rules::GUARD_SERVICE;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the first release may take to start.
const FIRST_START: Duration = Duration::from_secs(60);
const DEVICE_NAME: &str = "simulated-device";

pub struct TestbedOptions {
    pub programs: Programs,
    pub timing: Timing,
    pub registry: Registry,
    /// Programs of single images, in place of the agent's.
    pub programs_by_image: BTreeMap<String, PathBuf>,
    /// The release that the device is delivered with.
    pub first_release: TestRelease,
    /// `None`: the device gets no join token.
    pub join_token: Option<CreateJoinToken>,
    pub agent_environment: BTreeMap<String, String>,
    pub cloudly_environment: BTreeMap<String, String>,
    /// Called for every line that the agent writes.
    pub on_line: Option<OnLine>,
}

impl TestbedOptions {
    /// Fast, with a join token for one node and the first release `a1a1a1a1` (1.0.0). The images are `baserunner:1` to
    /// `9`, `onebox:1` to `9`, `onebox:crashes`, which ends half a second after each start, and `onebox:breaks`, which
    /// ends half a second after its first start and cannot be started again.
    pub fn new(programs: Programs) -> Self {
        let mut registry = Registry::default();
        for number in 1..=9 {
            registry = registry
                .with(&format!("baserunner:{number}"), Image::agent(200))
                .with(&format!("onebox:{number}"), Image::new(Behaviour::Runs, 200));
        }
        let crash = Behaviour::Exits {
            after_millis: 500,
            code: 1,
        };
        let breaks = Behaviour::Breaks { after_millis: 500 };
        registry = registry
            .with("onebox:crashes", Image::new(crash, 200))
            .with("onebox:breaks", Image::new(breaks, 200));
        Self {
            programs,
            // systemd starts a crashed Supervisor again.
            timing: Timing {
                crash_restart: Some(Duration::from_millis(100)),
                ..Timing::fast()
            },
            registry,
            programs_by_image: BTreeMap::new(),
            first_release: TestRelease::new("a1a1a1a1", "1.0.0", "onebox:1"),
            join_token: Some(CreateJoinToken::default()),
            agent_environment: BTreeMap::new(),
            cloudly_environment: BTreeMap::new(),
            on_line: None,
        }
    }

    /// With a variable for the agent.
    #[must_use]
    pub fn with_agent_variable(mut self, name: &str, value: &str) -> Self {
        self.agent_environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a variable for Cloudly.
    #[must_use]
    pub fn with_cloudly_variable(mut self, name: &str, value: &str) -> Self {
        self.cloudly_environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With an image of the agent that holds another program.
    #[must_use]
    pub fn with_agent_program(mut self, reference: &str, program: &Path) -> Self {
        self.programs_by_image
            .insert(reference.to_owned(), program.to_owned());
        self.with_image(reference, Image::agent(200))
    }

    #[must_use]
    pub fn with_image(mut self, reference: &str, image: Image) -> Self {
        self.registry = self.registry.with(reference, image);
        self
    }
}

/// Everything ends when this is dropped, the device first: the agent's last heartbeat finds Cloudly.
#[derive(Debug)]
pub struct Testbed {
    pub device: Device,
    pub cloudly: Cloudly,
    pub agent: LocalApi,
    dir: tempfile::TempDir,
    _slot: Slot,
}

impl Testbed {
    /// Starts everything and waits until the device runs its first release. The agent has what it needs to enrol.
    ///
    /// # Errors
    /// When a program does not start.
    pub async fn start(options: TestbedOptions) -> Result<Self> {
        let slot = slot_for_testbed().await;
        // Containers may have users of their own.
        let passable = std::fs::Permissions::from_mode(0o711);
        let dir = tempfile::Builder::new()
            .prefix("baseos-testbed-")
            .permissions(passable)
            .tempdir()?;
        let mut cloudly = CloudlyConfig::new(&options.programs.cloudly, &dir.path().join("cloudly"));
        cloudly.environment.extend(options.cloudly_environment);
        let cloudly = Cloudly::start(cloudly).await?;
        let mut environment = BTreeMap::from([
            ("BASEOS_CLOUDLY_URL".to_owned(), cloudly.url().to_owned()),
            ("BASEOS_ALLOW_HTTP".to_owned(), "1".to_owned()),
            ("BASEOS_NODE_NAME".to_owned(), DEVICE_NAME.to_owned()),
        ]);
        if let Some(request) = &options.join_token {
            let token = cloudly.create_join_token(request).await?;
            environment.insert("BASEOS_JOIN_TOKEN".to_owned(), token.token.expose().to_owned());
        }
        environment.extend(options.agent_environment);
        let device = Device::start(DeviceConfig {
            dir: Some(dir.path().join("device")),
            supervisor: Config {
                timing: options.timing,
                ..Config::default()
            },
            registry: options.registry,
            program: Some(options.programs.baserunner),
            programs_by_image: options.programs_by_image,
            environment,
            on_line: options.on_line,
            ..DeviceConfig::default()
        })
        .await?;
        let agent = LocalApi::new(device.run_dir());
        device.post_target(&options.first_release.local_target(DEVICE_NAME));
        let testbed = Self {
            device,
            cloudly,
            agent,
            dir,
            _slot: slot,
        };
        testbed
            .wait_runs(&options.first_release.commit, FIRST_START)
            .await?;
        Ok(testbed)
    }

    /// All files of all programs are below it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.device.volume_dir(APP_ID, "baseos")
    }

    /// # Errors
    /// When Cloudly refuses.
    pub async fn publish(&self, release: &TestRelease) -> Result<ReleaseRecord> {
        self.cloudly.create_release(&release.create_request()).await
    }

    /// Sets the desired release of all nodes, or none; returns the revision.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn set_desired(&self, commit: Option<&str>, policy: Policy) -> Result<u64> {
        let request = SetDesired {
            commit: commit.map(str::to_owned),
            policy: Some(policy),
            force_ttl_seconds: None,
        };
        Ok(self.cloudly.set_desired(None, &request).await?.revision)
    }

    /// Two seconds of health, half a minute for an apply.
    pub fn quick_policy(&self) -> Policy {
        Policy {
            health_seconds: 2,
            apply_timeout_seconds: 30,
            ..Policy::default()
        }
    }

    /// The only node.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn node(&self) -> Result<NodeRecord> {
        let mut nodes = self.cloudly.nodes().await?;
        match (nodes.len(), nodes.pop()) {
            (1, Some(node)) => Ok(node),
            (count, _) => Err(Error::new(format!("there are {count} nodes, not one"))),
        }
    }

    /// Waits until Cloudly's record of the only node fulfils a condition.
    ///
    /// # Errors
    /// When it does not within the limit; with the state of everything.
    pub async fn wait_node(
        &self,
        expected: &str,
        limit: Duration,
        condition: impl Fn(&NodeRecord) -> bool,
    ) -> Result<NodeRecord> {
        let outcome = wait_until(expected, limit, async || {
            let node = self.node().await.map_err(|error| error.to_string())?;
            if condition(&node) {
                Ok(node)
            } else {
                Err(describe(&node))
            }
        });
        self.with_diagnostics(outcome.await)
    }

    /// Waits until the agent's own status fulfils a condition.
    ///
    /// # Errors
    /// When it does not within the limit; with the state of everything.
    pub async fn wait_agent(
        &self,
        expected: &str,
        limit: Duration,
        condition: impl Fn(&LocalStatus) -> bool,
    ) -> Result<LocalStatus> {
        self.with_diagnostics(self.agent.wait_status(expected, limit, condition).await)
    }

    /// Waits until the device runs this commit and nothing else.
    ///
    /// # Errors
    /// When it does not within the limit; with the state of everything.
    pub async fn wait_runs(&self, commit: &str, limit: Duration) -> Result<()> {
        let expected = format!("the device runs {commit}");
        let outcome = wait_until(&expected, limit, async || {
            ensure(self.device.runs(commit), || self.device.status().to_text())
        });
        self.with_diagnostics(outcome.await)
    }

    fn with_diagnostics<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| Error::new(format!("{error}\n{}", self.diagnostics())))
    }

    /// The state of everything, for a message.
    pub fn diagnostics(&self) -> String {
        format!(
            "--- Supervisor\n{}\n{}--- agent, last lines\n{}\n--- guard, last lines\n{}\n--- Cloudly, last lines\n{}\n",
            self.device.status(),
            self.device.supervisor_log(),
            self.device.log_tail("baserunner", 25),
            self.device.log_tail(GUARD_SERVICE, 8),
            self.cloudly.log_tail(15),
        )
    }
}

fn describe(node: &NodeRecord) -> String {
    let Some(status) = &node.status else {
        return format!("{} without a status", node.id);
    };
    format!(
        "agent {}, update {} to {:?}, blocked by {:?}, error {:?}, release {:?}",
        status.agent.state,
        status.update.state,
        status.update.target,
        status.update.blocked_by,
        status.update.error,
        status.release,
    )
}
