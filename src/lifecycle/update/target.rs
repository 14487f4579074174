//! What is desired of this node, in the machine's own types: they are part of the checkpoint, so they change when
//! the checkpoint's version does, not when the wire contract does. `From` converts at the edge, in one direction:
//! what Cloudly sends comes in here and is never sent back.

use crate::lifecycle::update::platform::PlatformImage;
use baseos_interfaces::Timestamp;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::desired::{self as wire, DEFAULT_AGENT_SERVICE};
use baseos_interfaces::rules::{ReleaseParts, ServiceParts, check_size};
use baseos_interfaces::window::Window as WireWindow;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A revision of what is desired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Desired {
    /// Rises with every change; counts per node.
    pub(crate) revision: u64,
    /// `None`: no app release is desired.
    pub(crate) app: Option<AppTarget>,
}

/// The desired app release with what governs its application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AppTarget {
    pub(crate) release: Release,
    /// `rol_…`, when it is part of a rollout.
    pub(crate) rollout: Option<String>,
    /// The rollout's permission to begin; `None`: none is needed.
    pub(crate) slot: Option<Slot>,
    pub(crate) policy: Policy,
}

/// An app release: everything the Supervisor needs to run it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Release {
    /// `rel_…`.
    pub(crate) id: String,
    pub(crate) commit: String,
    pub(crate) version: Option<String>,
    /// Which service is the agent; `None`: [`DEFAULT_AGENT_SERVICE`].
    pub(crate) agent_service: Option<String>,
    /// Why it was not taken in: the state could not be saved with it. Nothing below is there then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// By service name.
    pub(crate) services: BTreeMap<String, Service>,
    /// Compose definitions by volume name.
    pub(crate) volumes: BTreeMap<String, Map<String, Value>>,
    /// Compose definitions by network name.
    pub(crate) networks: BTreeMap<String, Map<String, Value>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    /// The image reference.
    pub(crate) image: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The other compose keys.
    pub(crate) composition: Map<String, Value>,
    /// What the image needs on disk, if the operator says it.
    pub(crate) size_bytes: Option<u64>,
    /// What its registry says, by platform.
    pub(crate) platforms: BTreeMap<String, PlatformImage>,
}

/// A rollout's permission to begin, a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Slot {
    pub(crate) granted: bool,
    /// Cloudly's clock.
    pub(crate) expires_at: Option<Timestamp>,
}

/// When and how an update may be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Policy {
    /// Maintenance windows; none: at any time.
    pub(crate) windows: Vec<Window>,
    /// How long the device may defer and locks may hold, in all.
    max_defer_seconds: u32,
    max_attempts: u32,
    health_seconds: u32,
    apply_timeout_seconds: u32,
    /// Whether the agent goes back from a bad release by itself; else the operator decides.
    pub(crate) rolls_back: bool,
    /// Whether the agent hands the release over again when a container of it is missing.
    pub(crate) reposts: bool,
    /// Whether the agent starts a service of it that has stopped.
    pub(crate) restarts: bool,
    /// Whether somebody at the device must approve first.
    pub(crate) requires_local_approval: bool,
    /// Whether an update that could not be undone is held back.
    pub(crate) requires_rollback: bool,
    /// An operator's audited order to go ahead despite window, deferral, approval, locks and known-bad memory.
    pub(crate) force: Option<Force>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Force {
    pub(crate) by: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Window {
    /// `mon` … `sun`; empty: every day.
    days: Vec<String>,
    /// `HH:MM` in `time_zone`.
    start: String,
    duration_seconds: u32,
    /// IANA name.
    time_zone: String,
}

/// What may come with a release, bytes.
const BESIDE_MAX_BYTES: usize = 16 * 1024;
/// What is kept of an id, a commit or a version of a release that was not taken in, characters.
const KEPT_OF_REFUSED: usize = 64;
/// What registries say of a release's images, entries; more is left out.
const PLATFORM_IMAGES_MAX: usize = 1024;

impl Release {
    fn refused(release: &wire::Release, reason: String) -> Self {
        let start = |text: &str| text.chars().take(KEPT_OF_REFUSED).collect();
        Self {
            id: start(&release.release_id),
            commit: start(&release.commit),
            version: release.version.as_deref().map(start),
            refused: Some(reason),
            ..Self::default()
        }
    }

    /// The name of the service that is the agent.
    pub(crate) fn agent_service(&self) -> &str {
        self.agent_service.as_deref().unwrap_or(DEFAULT_AGENT_SERVICE)
    }

    /// Whether the end of a service's process speaks against the release: it is one of its services, and not one that
    /// is to run once.
    pub(crate) fn minds_exit(&self, service: &str) -> bool {
        self.services
            .get(service)
            .is_some_and(|service| service.restart() != Restart::Never)
    }
}

/// When the engine starts a service's process again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    /// Unless it ended well.
    OnFailure,
    Never,
}

impl Service {
    /// The restart policy; balena's default is `always`.
    pub(crate) fn restart(&self) -> Restart {
        match self.composition.get("restart").and_then(Value::as_str) {
            Some("no") => Restart::Never,
            Some(policy) if policy.starts_with("on-failure") => Restart::OnFailure,
            _ => Restart::Always,
        }
    }

    /// Whether a container in this state has done what it is for: the engine starts one that has failed again.
    pub(crate) fn is_done(&self, status: &str) -> bool {
        self.restart() != Restart::Always && status.eq_ignore_ascii_case("exited")
    }
}

impl Policy {
    /// How long the device may defer and locks may hold, in all.
    pub(crate) fn max_defer(&self) -> Duration {
        seconds(self.max_defer_seconds)
    }

    /// How often a release is tried; at least once.
    pub(crate) fn max_attempts(&self) -> u32 {
        self.max_attempts.max(1)
    }

    /// How long a release must stay healthy before it counts.
    pub(crate) fn health(&self) -> Duration {
        seconds(self.health_seconds)
    }

    /// How long the Supervisor may take to fetch and start a release; at least a second.
    pub(crate) fn apply_timeout(&self) -> Duration {
        seconds(self.apply_timeout_seconds.max(1))
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.force.is_some()
    }

    /// The same policy for the way back from its release: an order to go ahead was about that release alone.
    pub(crate) fn without_force(&self) -> Self {
        Self {
            force: None,
            ..self.clone()
        }
    }

    /// The windows in the form in which they are evaluated.
    pub(crate) fn wire_windows(&self) -> Vec<WireWindow> {
        self.windows.iter().map(WireWindow::from).collect()
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

impl Default for Policy {
    fn default() -> Self {
        (&wire::Policy::default()).into()
    }
}

impl From<&wire::Desired> for Desired {
    fn from(desired: &wire::Desired) -> Self {
        Self {
            revision: desired.revision,
            app: desired.app.as_ref().map(AppTarget::from),
        }
    }
}

impl From<&wire::DesiredApp> for AppTarget {
    fn from(app: &wire::DesiredApp) -> Self {
        if let Some(reason) = too_large(&app.release).or_else(|| too_much_beside(app)) {
            let release = Release::refused(&app.release, reason);
            return Self {
                release,
                ..Self::default()
            };
        }
        Self {
            release: (&app.release).into(),
            rollout: app.rollout_id.clone(),
            slot: app.slot.as_ref().map(|slot| Slot {
                granted: slot.granted,
                expires_at: slot.lease_expires_at,
            }),
            policy: (&app.policy).into(),
        }
    }
}

impl From<&wire::Release> for Release {
    fn from(release: &wire::Release) -> Self {
        let platforms = release.services.values().map(|service| service.platforms.len());
        let few_platforms = platforms.sum::<usize>() <= PLATFORM_IMAGES_MAX;
        let service = |service: &wire::Service| Service {
            image: service.image.clone(),
            environment: service.environment.clone(),
            labels: service.labels.clone(),
            composition: service.composition.clone(),
            size_bytes: service.size_bytes,
            platforms: service
                .platforms
                .iter()
                .filter(|(platform, _)| few_platforms && platform.len() <= KEPT_OF_REFUSED)
                .map(|(platform, image)| (platform.clone(), image.into()))
                .collect_tree(),
        };
        Self {
            id: release.release_id.clone(),
            commit: release.commit.clone(),
            version: release.version.clone(),
            agent_service: release.agent_service.clone(),
            refused: None,
            services: release
                .services
                .iter()
                .map(|(name, wire)| (name.clone(), service(wire)))
                .collect_tree(),
            volumes: release.volumes.clone(),
            networks: release.networks.clone(),
        }
    }
}

impl<'a> From<&'a Release> for ReleaseParts<'a> {
    fn from(release: &'a Release) -> Self {
        let service = |(name, service): (&'a String, &'a Service)| {
            let parts = ServiceParts {
                image: &service.image,
                environment: &service.environment,
                labels: &service.labels,
                composition: &service.composition,
                size_bytes: service.size_bytes,
            };
            (name.as_str(), parts)
        };
        Self {
            commit: &release.commit,
            version: release.version.as_deref(),
            services: release.services.iter().map(service).collect_tree(),
            volumes: &release.volumes,
            networks: &release.networks,
            agent_service: release.agent_service(),
        }
    }
}

/// Why a release must not be stored.
pub(crate) fn too_large(release: &wire::Release) -> Option<String> {
    check_size(release).err().map(|violations| violations.to_string())
}

/// The same of what comes with a release.
fn too_much_beside(app: &wire::DesiredApp) -> Option<String> {
    let window = |window: &WireWindow| {
        let days = window.days.iter().map(|day| day.len() + 8).sum::<usize>();
        64 + days + window.start.len() + window.time_zone.len()
    };
    let policy = &app.policy;
    let force = policy.force.as_ref();
    let bytes = app.release.release_id.len()
        + app.rollout_id.as_ref().map_or(0, String::len)
        + policy.windows.iter().map(window).sum::<usize>()
        + force.map_or(0, |force| force.by.len() + force.reason.len());
    (bytes > BESIDE_MAX_BYTES)
        .then(|| format!("its policy, rollout and id have {bytes} bytes, {BESIDE_MAX_BYTES} at most"))
}

impl From<&wire::Policy> for Policy {
    fn from(policy: &wire::Policy) -> Self {
        Self {
            windows: policy.windows.iter().map(Window::from).collect(),
            max_defer_seconds: policy.max_defer_seconds,
            max_attempts: policy.max_attempts,
            health_seconds: policy.health_seconds,
            apply_timeout_seconds: policy.apply_timeout_seconds,
            // What this version does not know is treated as the choice that touches nothing.
            rolls_back: policy.on_failure == wire::OnFailure::Rollback,
            reposts: matches!(policy.heal, wire::Heal::Restart | wire::Heal::Repost),
            restarts: policy.heal == wire::Heal::Restart,
            requires_local_approval: policy.require_local_approval,
            requires_rollback: policy.require_rollback,
            force: policy.force.as_ref().map(|force| Force {
                by: force.by.clone(),
                reason: force.reason.clone(),
            }),
        }
    }
}

impl From<&WireWindow> for Window {
    fn from(window: &WireWindow) -> Self {
        Self {
            days: window.days.clone(),
            start: window.start.clone(),
            duration_seconds: window.duration_seconds,
            time_zone: window.time_zone.clone(),
        }
    }
}

impl From<&Window> for WireWindow {
    fn from(window: &Window) -> Self {
        Self {
            days: window.days.clone(),
            start: window.start.clone(),
            duration_seconds: window.duration_seconds,
            time_zone: window.time_zone.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
