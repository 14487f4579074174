//! A whole stage: Cloudly, a device, and the agent on it, about to enrol.

use super::agent::Agent;
use super::cloudly::{Cloudly, CloudlyConfig};
use super::release::{APP_ID, Version};
use super::wait::wait_until;
use super::{Error, Result};
use crate::device::{Device, DeviceConfig, OnLine};
use crate::supervisor::{Behaviour, Config, Image, Registry, Timing};
use baseos_interfaces::admin::{CreateJoinToken, NodeRecord, ReleaseRecord, SetDesired};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::LocalStatus;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `baserunner`
    pub baserunner: PathBuf,
    /// `cloudly`
    pub cloudly: PathBuf,
}

impl Programs {
    /// The agent at this path (`env!("CARGO_BIN_EXE_baserunner")` in a test), and Cloudly beside it.
    ///
    /// # Errors
    /// When one of them has not been built.
    pub fn beside(baserunner: impl AsRef<Path>) -> Result<Self> {
        let baserunner = std::path::absolute(baserunner)?;
        let cloudly = baserunner.with_file_name("cloudly");
        for program in [&baserunner, &cloudly] {
            if !program.is_file() {
                let hint = "cargo build -p baserunner --bin baserunner -p cloudly-baseos --bin cloudly";
                return Err(Error::new(format!(
                    "{} is not there; build it: {hint}",
                    program.display()
                )));
            }
        }
        Ok(Self { baserunner, cloudly })
    }
}

/// What a stage is made from.
pub struct StageOptions {
    /// The programs.
    pub programs: Programs,
    /// How long things take on the device.
    pub timing: Timing,
    /// The images; `baserunner:*` are the agent unless described otherwise.
    pub registry: Registry,
    /// The release the device is delivered with.
    pub first: Version,
    /// The join token's terms; `None`: the device gets no token.
    pub join: Option<CreateJoinToken>,
    /// More variables for the agent.
    pub agent_environment: BTreeMap<String, String>,
    /// More variables for Cloudly.
    pub cloudly_environment: BTreeMap<String, String>,
    /// Told every line the agent writes.
    pub on_line: Option<OnLine>,
}

impl StageOptions {
    /// Fast, one join token for one node, release `a1a1a1a1` (1.0.0).
    pub fn new(programs: Programs) -> Self {
        let mut registry = Registry::default();
        for number in 1..=9 {
            registry = registry
                .with(&format!("baserunner:{number}"), Image::agent(200))
                .with(&format!("onebox:{number}"), Image::new(Behaviour::Runs, 200));
        }
        // Ends half a second after each start; whether it is started again is the restart policy's matter.
        let crash = Behaviour::Exits {
            after_millis: 500,
            code: 1,
        };
        registry = registry
            .with("onebox:crashes", Image::new(crash, 200))
            .with("onebox:missing", Image::missing())
            .with(
                "onebox:flaps",
                Image::new(Behaviour::Flaps { after_millis: 500 }, 200),
            )
            .with("onebox:does-not-start", Image::new(Behaviour::DoesNotStart, 200));
        Self {
            programs,
            // A Supervisor that crashed comes back, as systemd sees to.
            timing: Timing {
                crash_restart: Some(Duration::from_millis(100)),
                ..Timing::fast()
            },
            registry,
            first: Version::new("a1a1a1a1", "1.0.0", "onebox:1"),
            join: Some(CreateJoinToken::default()),
            agent_environment: BTreeMap::new(),
            cloudly_environment: BTreeMap::new(),
            on_line: None,
        }
    }
}

/// A running stage; everything ends with it.
#[derive(Debug)]
pub struct Stage {
    /// Ends first, so that the agent's goodbye finds Cloudly.
    pub device: Device,
    /// The control plane.
    pub cloudly: Cloudly,
    /// The agent's local API.
    pub agent: Agent,
    first: Version,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Starts everything: the device runs its first release and the agent has what it needs to enrol.
    ///
    /// # Errors
    /// When a program does not start.
    pub async fn start(options: StageOptions) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("baseos-stage-").tempdir()?;
        let mut cloudly = CloudlyConfig::new(&options.programs.cloudly, &dir.path().join("cloudly"));
        cloudly.environment.extend(options.cloudly_environment);
        let cloudly = Cloudly::start(cloudly).await?;
        let mut environment = BTreeMap::from([
            ("BASEOS_CLOUDLY_URL".to_owned(), cloudly.url().to_owned()),
            ("BASEOS_ALLOW_HTTP".to_owned(), "1".to_owned()),
            ("BASEOS_NODE_NAME".to_owned(), "simulated-device".to_owned()),
        ]);
        if let Some(join) = &options.join {
            let token = cloudly.create_join_token(join).await?;
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
            environment,
            on_line: options.on_line,
            ..DeviceConfig::default()
        })
        .await?;
        let agent = Agent::new(device.run_dir());
        device.post_target(&options.first.local_target("simulated-device"));
        let stage = Self {
            device,
            cloudly,
            agent,
            first: options.first,
            dir,
        };
        stage
            .wait_runs(&stage.first.commit.clone(), Duration::from_secs(20))
            .await?;
        Ok(stage)
    }

    /// Everything lives below this directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.device.volume_dir(APP_ID, "baseos")
    }

    /// Publishes a release.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn publish(&self, version: &Version) -> Result<ReleaseRecord> {
        self.cloudly.create_release(&version.release()).await
    }

    /// Says what is desired of all nodes.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn desire(&self, commit: Option<&str>, policy: Policy) -> Result<u64> {
        let wish = SetDesired {
            commit: commit.map(str::to_owned),
            policy,
        };
        Ok(self.cloudly.set_desired(None, &wish).await?.revision)
    }

    /// The default policy with two seconds of health and half a minute for an apply.
    pub fn quick_policy(&self) -> Policy {
        Policy {
            health_seconds: 2,
            apply_timeout_seconds: 30,
            ..Policy::default()
        }
    }

    /// The one node.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn node(&self) -> Result<NodeRecord> {
        let mut nodes = self.cloudly.nodes().await?;
        match (nodes.pop(), nodes.len()) {
            (Some(node), 0) => Ok(node),
            (_, others) => Err(Error::new(format!("not one node but {others} others"))),
        }
    }

    /// Waits until Cloudly's record of the one node is so.
    ///
    /// # Errors
    /// When the time is over; with the state of everything.
    pub async fn wait_node(
        &self,
        what: &str,
        timeout: Duration,
        is_so: impl Fn(&NodeRecord) -> bool,
    ) -> Result<NodeRecord> {
        let looked = wait_until(what, timeout, async || {
            let node = self.node().await.map_err(|error| error.to_string())?;
            if is_so(&node) {
                Ok(node)
            } else {
                Err(describe(&node))
            }
        });
        self.explained(looked.await)
    }

    /// Waits until the agent's own status is so.
    ///
    /// # Errors
    /// When the time is over; with the state of everything.
    pub async fn wait_agent(
        &self,
        what: &str,
        timeout: Duration,
        is_so: impl Fn(&LocalStatus) -> bool,
    ) -> Result<LocalStatus> {
        let looked = wait_until(what, timeout, async || {
            let status = self.agent.status().await.map_err(|error| error.to_string())?;
            if is_so(&status) {
                Ok(status)
            } else {
                Err(format!("{}: {}", status.state, status.summary))
            }
        });
        self.explained(looked.await)
    }

    /// Waits until the device runs this commit and nothing else.
    ///
    /// # Errors
    /// When the time is over; with the state of everything.
    pub async fn wait_runs(&self, commit: &str, timeout: Duration) -> Result<()> {
        let what = format!("the device runs {commit}");
        let looked = wait_until(&what, timeout, async || {
            if self.device.runs(commit) {
                Ok(())
            } else {
                Err(self.device.status().to_text())
            }
        });
        self.explained(looked.await)
    }

    fn explained<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| Error::new(format!("{error}\n{}", self.diagnostics())))
    }

    /// The state of everything, for a message.
    pub fn diagnostics(&self) -> String {
        format!(
            "--- Supervisor\n{}\n{}--- agent, last lines\n{}\n--- Cloudly, last lines\n{}\n",
            self.device.status(),
            self.device.supervisor_log(),
            self.device.log_tail("baserunner", 25),
            self.cloudly.log_tail(15),
        )
    }
}

fn describe(node: &NodeRecord) -> String {
    let Some(status) = &node.status else {
        return format!("{} without a status", node.id);
    };
    format!(
        "agent {}, update {} to {:?}, blocked by {:?}, error {:?}, running {:?}, services {:?}",
        status.agent.state,
        status.update.state,
        status.update.target,
        status.update.blocked_by,
        status.update.error,
        status.release.running,
        status.release.services,
    )
}
