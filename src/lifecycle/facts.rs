//! Facts: what adapters have observed, in the machine's own types.

use crate::lifecycle::guard::files::Restored;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::status::OsStatus;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// The facts of this run of the agent, known before the first event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// New at each start, e.g. `r_8c1f…`.
    pub run_id: String,
    /// The kernel's boot id; a new one means the boot-time clock started anew.
    pub boot_id: String,
    /// What this node says of itself.
    pub node: NodeFacts,
    /// Labels for operators.
    pub labels: BTreeMap<String, String>,
    /// The name of this agent's own service in a release.
    pub own_service: String,
    /// Where this agent keeps its state, in its container.
    #[serde(default)]
    pub state_dir: String,
    /// Whose the state directory is; `None`: it cannot be looked at.
    #[serde(default)]
    pub state_owner: Option<StateOwner>,
    /// `BALENA_APP_ID`, when the Supervisor started this container.
    pub app_id: Option<u64>,
    /// Whether a node token is in the store.
    pub has_credentials: bool,
    /// The join token in the configuration, if there is one.
    pub join: Option<JoinOffer>,
    /// Whether a Supervisor is configured at all.
    pub supervisor_configured: bool,
    /// Free space below which nothing is installed, bytes.
    pub reserve_bytes: u64,
    /// Settings that are not right and count as not set.
    #[serde(default)]
    pub settings_problems: Vec<String>,
    /// Why the newest stored checkpoint could not be used.
    #[serde(default)]
    pub checkpoint_problem: Option<String>,
    /// When this agent was built; `None` in journals of agents that did not say.
    #[serde(default)]
    pub built_at: Option<Timestamp>,
    /// Whether Cloudly is called over TLS, so that its clock is its own.
    #[serde(default)]
    pub cloudly_over_tls: bool,
    /// The URL of Cloudly as it may be shown; `None`: none is known.
    #[serde(default)]
    pub cloudly_url: Option<String>,
    /// The guard of the agent's own update; `None`: this agent has none.
    #[serde(default)]
    pub guard: Option<GuardSettings>,
}

/// Whose a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateOwner {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permissions.
    pub mode: u32,
}

/// How the agent's own update is guarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// How long a new agent may take to prove itself, seconds.
    pub budget_seconds: u32,
    /// What the guard had reported when this run began.
    pub report: Option<GuardFacts>,
}

/// What the guard reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardFacts {
    /// The boot in which it said so.
    pub boot_id: String,
    /// The commit it would put back.
    pub holds: Option<String>,
    /// The commit on trial that it watches.
    pub watches: Option<String>,
    /// The last release it took out of service.
    pub restored: Option<Restored>,
}

/// A join token somebody offers. Only its public part comes here; the secret stays with the adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinOffer {
    /// The token's public id, or why the text is not a token.
    pub token: Result<TokenId, String>,
    /// A fresh registration id, to be used if this offer is taken up.
    pub registration_id: RegistrationId,
    /// Give up the present identity for a new one.
    pub replace: bool,
}

/// What one look at the Supervisor brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupervisorView {
    /// e.g. `19.0.5`.
    pub version: String,
    /// Whether it asks for a key. Without (no backend, or local mode) it takes targets from anybody who reaches
    /// it, which is also how this agent hands it a release; with, its backend gives it its target.
    pub managed: bool,
    /// `appState` of `/v2/state/status`.
    pub app_state: AppState,
    /// `release` of `/v2/state/status`: the commit it says is applied.
    pub release: Option<String>,
    /// `overallDownloadProgress`.
    pub download_percent: Option<u8>,
    /// The containers that exist, in the Supervisor's order.
    pub containers: Vec<Container>,
    /// By service: the engine's id of the image that the Supervisor's target leads to, looked up at the time
    /// (`config.image` of `/v2/local/target-state`). A service is missing while there is no such image.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Why `images` could not be read; `None`: they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_problem: Option<String>,
    /// References of the images on the engine that the Supervisor knows, in order.
    #[serde(default)]
    pub present_images: Vec<String>,
    /// `update_failed` of `/v1/device`: a pull, a start or a lock failed and it is backing off.
    pub update_failed: bool,
    /// `update_downloaded` of `/v1/device`: an image was pulled in this apply, so what fails comes after a pull.
    #[serde(default)]
    pub update_downloaded: bool,
    /// The device's addresses.
    pub ip_addresses: Vec<String>,
    /// The device's hardware addresses.
    pub mac_addresses: Vec<String>,
    /// The host OS.
    pub os: OsStatus,
}

impl SupervisorView {
    /// The release that it is done with; `None` while it is at work.
    pub fn applied_release(&self) -> Option<&str> {
        let release = self.release.as_deref();
        release.filter(|_| self.app_state == AppState::Applied)
    }

    /// Whether it has nothing to do, takes its targets from this agent and names no release. It does so after its
    /// database was lost: containers run on (observed).
    pub fn has_lost_target(&self) -> bool {
        !self.managed && self.app_state == AppState::Applied && self.release.is_none()
    }
}

/// `appState` of `/v2/state/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppState {
    /// Nothing left to do, says the Supervisor.
    Applied,
    /// It works, or backs off, or waits for a lock.
    Applying,
    /// It said something else.
    Other,
}

/// One container, as `/v2/state/status` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The service's name.
    pub service: String,
    /// `Running`, `exited`, `Stopping` …
    pub status: String,
    /// The image id of the target it was made from.
    pub image_id: u64,
    /// The engine's id; a new one means a new container.
    pub container_id: String,
    /// When it was created, as the Supervisor writes it.
    pub created_at: String,
}

impl Container {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.status.eq_ignore_ascii_case("running")
    }
}

/// A thorough look at the Supervisor: its state and its present target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Its state.
    pub view: SupervisorView,
    /// The apps of its target, by app id.
    pub apps: BTreeMap<u64, TargetApp>,
    /// The target's `config` (all values are strings).
    pub config: BTreeMap<String, String>,
    /// The target's device name.
    pub name: Option<String>,
}

/// One app of the Supervisor's present target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetApp {
    /// The app's name.
    pub name: String,
    /// The target commit; it may not be applied yet.
    pub commit: Option<String>,
    /// The target's services.
    pub services: BTreeMap<String, TargetService>,
    /// Volumes and their definitions, as the Supervisor gives them (`driver`, `driverOpts`, `labels`).
    pub volumes: BTreeMap<String, Map<String, Value>>,
    /// The same app as a release, or why it cannot be written as one without loss; `None`: not tried.
    #[serde(default)]
    pub definition: Option<Result<PresentRelease, String>>,
}

/// The present target as a release: posted again, it is the same target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PresentRelease {
    /// By service name.
    pub services: BTreeMap<String, PresentService>,
    /// Compose definitions by volume name.
    pub volumes: BTreeMap<String, Map<String, Value>>,
    /// Compose definitions by network name.
    pub networks: BTreeMap<String, Map<String, Value>>,
}

/// One service of it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PresentService {
    /// The reference that was posted.
    pub image: String,
    /// Without what the Supervisor adds.
    pub environment: BTreeMap<String, String>,
    /// Without what the Supervisor adds.
    pub labels: BTreeMap<String, String>,
    /// The other compose keys.
    pub composition: Map<String, Value>,
}

/// An environment may hold what is nobody's business.
impl fmt::Debug for PresentService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentService")
            .field("image", &self.image)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}

/// One service of the Supervisor's present target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetService {
    /// `serviceId`.
    pub service_id: u64,
    /// `imageId`.
    pub image_id: u64,
    /// `releaseId`.
    pub release_id: u64,
    /// `imageName`: the reference that was posted.
    pub image: String,
    /// The named volumes it mounts, `NAME:TARGET[:ro]`, without the app's prefix.
    #[serde(default)]
    pub mounts: Vec<String>,
}

/// Facts about the machine the agent runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Free bytes where images and state live.
    pub free_bytes: Option<u64>,
    /// Lock files somebody else made, as paths.
    pub foreign_locks: Vec<String>,
    /// What the guard of the agent's own update reports.
    #[serde(default)]
    pub guard: Option<GuardFacts>,
    /// How many of balena's two lock files are there and this agent's; `None`: not looked.
    #[serde(default)]
    pub own_locks: Option<u8>,
    /// Why this agent cannot make lock files; `None`: it can, or there is no directory for them.
    #[serde(default)]
    pub lock_dir_problem: Option<String>,
}

/// What one look at the lock directory brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockDir {
    /// See [`HostFacts::foreign_locks`].
    pub foreign: Vec<String>,
    /// See [`HostFacts::own_locks`].
    pub own: u8,
    /// See [`HostFacts::lock_dir_problem`].
    pub problem: Option<String>,
}

/// Why the Supervisor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorError {
    /// What kind.
    pub kind: SupervisorErrorKind,
    /// A sentence without URL and key.
    pub message: String,
}

impl SupervisorError {
    /// The call did not leave, because its checkpoint could not be written.
    pub(crate) fn withheld(problem: &str) -> Self {
        Self {
            kind: SupervisorErrorKind::Unavailable,
            message: format!("not begun, because the state cannot be saved: {problem}"),
        }
    }
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorErrorKind {
    /// No address or key in the environment.
    NotConfigured,
    /// No connection, no answer in time, or 5xx.
    Unavailable,
    /// 401: the key changed.
    Unauthorized,
    /// 423: an update lock.
    Locked,
    /// 400, 404, 409: it does not accept this.
    Refused,
    /// It answered something that is no answer.
    Garbage,
}

impl SupervisorErrorKind {
    /// Whether it surely did not do what it was asked.
    pub(crate) fn is_refusal(self) -> bool {
        match self {
            Self::NotConfigured | Self::Unauthorized | Self::Locked | Self::Refused => true,
            Self::Unavailable | Self::Garbage => false,
        }
    }
}

/// Why a call to Cloudly did not bring what it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// What kind.
    pub kind: CallFailureKind,
    /// The problem's code, if it brought one.
    pub code: Option<ProblemCode>,
    /// A sentence without token.
    pub message: String,
    /// `Retry-After` or `retryAfterSeconds`, already capped, seconds.
    pub retry_after_seconds: Option<u32>,
    /// The interval Cloudly wants from now on, seconds.
    pub next_heartbeat_seconds: Option<u32>,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallFailureKind {
    /// 401.
    Unauthorized,
    /// 403: an operator suspended the node.
    Suspended,
    /// 409.
    Conflict,
    /// 410: an operator removed the node.
    Removed,
    /// 426: this agent is too old for Cloudly.
    TooOld,
    /// Another 4xx: the same request will not be accepted later.
    Rejected,
    /// 429, 5xx.
    Unavailable,
    /// No connection, no TLS, no answer in time.
    Unreachable,
    /// It answered something that is no answer (or too large a one).
    Garbage,
    /// There is no token to call with.
    NoCredentials,
}
