//! A node's full status (contract §4). Top-level members replace whole, never merge deep.

use crate::Timestamp;
pub use crate::blocker::{Blocker, BlockerKind};
use crate::codes::{ErrorCode, IssueCode};
use crate::states::{AgentState, RolloutState, UpdateState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything a node knows of itself that an operator may ask for. What it has not looked at yet is left out: unknown is
/// neither unavailable nor empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// What the local Supervisor answers.
    #[serde(default, skip_serializing_if = "SupervisorStatus::is_unknown")]
    pub supervisor: SupervisorStatus,
    /// What the device runs on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub os: OsStatus,
    /// Which agent reports, and what it is doing.
    pub agent: AgentStatus,
    /// Which release runs, and which could be gone back to; missing: the Supervisor has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseStatus>,
    /// The current or last update.
    pub update: UpdateStatus,
    /// The rollout it belongs to; `null`: none.
    pub rollout: Option<RolloutStatus>,
    /// How it is reachable.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: NetworkStatus,
    /// What is not as it should be.
    pub health: HealthStatus,
}

impl NodeStatus {
    /// The commit the Supervisor says is applied; `None`: none, or not known.
    pub fn running(&self) -> Option<&str> {
        self.release.as_ref()?.running.as_deref()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The local Supervisor, as the agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorStatus {
    /// Whether it answers; missing: it has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<bool>,
    /// e.g. `19.0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether a backend gives it its target state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<bool>,
    /// Why it is not available; `null`: it is, or it has not been looked at yet.
    #[serde(default)]
    pub error: Option<String>,
}

impl SupervisorStatus {
    /// Whether it has not been looked at yet.
    pub fn is_unknown(&self) -> bool {
        self.available.is_none()
    }
}

/// The host OS, as the Supervisor reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OsStatus {
    /// `balenaOS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// e.g. `6.5.24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `prod` or `dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The agent that reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// The version of the program, e.g. `0.1.0`.
    pub version: String,
    /// When it was started last, device's clock.
    pub started_at: Timestamp,
    /// Starts since enrolment, without the first.
    pub restart_count: u32,
    /// What it is doing.
    pub state: AgentState,
    /// The guard of its own update; missing: the agent has none to speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardStatus>,
}

/// The guard of the agent's own update: a second service that puts the proven release back when a new agent does not
/// prove itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardStatus {
    /// Whether it runs and holds the release that has proved itself.
    pub armed: bool,
    /// Why not; `null`: it is armed.
    pub reason: Option<String>,
    /// The commit it would put back; `null`: none.
    pub holds: Option<String>,
    /// The commit whose agent has to prove itself at present; `null`: none.
    pub trial: Option<String>,
}

/// The release that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// The commit the Supervisor says is applied; `null`: none.
    pub running: Option<String>,
    /// The version of that release, if this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The release to go back to; `null`: none is known.
    pub previous: Option<String>,
    /// Services that exist, by name.
    #[serde(default)]
    pub services: BTreeMap<String, ServiceStatus>,
    /// Images that are on the device and no longer needed; missing: none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_images: Vec<UnusedImage>,
}

/// An image that neither what runs nor a way back needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnusedImage {
    /// Its reference.
    pub image: String,
    /// What its release said of its size, bytes; missing: it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl UnusedImage {
    /// What an operator does about it.
    pub const REMEDY: &str = "to free their space run `balena image rm IMAGE` on the host; nothing listed is needed, not even to go \
                              back";

    /// In words.
    pub fn in_words(&self) -> String {
        match self.size_bytes {
            Some(bytes) => format!("{} ({} MiB)", self.image, bytes.div_ceil(1 << 20)),
            None => self.image.clone(),
        }
    }
}

/// A service that exists on the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The image it runs, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// As the Supervisor says it: `Running`, `exited`, `Downloading` …
    pub status: String,
    /// Whether it does not run because an operator stopped it (`stopService`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_by_operator: bool,
}

impl ServiceStatus {
    /// What is said of a service that an operator stopped.
    pub const STOPPED: &str = "stopped by an operator, until `cloudly node command NODE startService`";
}

/// What kind of update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UpdateKind {
    /// The app layer.
    #[default]
    App,
    /// The host OS.
    HostOs,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

/// The current or last update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// Which layer it changes.
    pub kind: UpdateKind,
    /// The phase it is in, or how it ended.
    pub state: UpdateState,
    /// The commit it goes to; `null`: none.
    pub target: Option<String>,
    /// Since when it is in this phase, device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Timestamp>,
    /// How much of the images is downloaded; missing: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_percent: Option<u8>,
    /// Which attempt this is, from 1; before the first one begins it is 1 too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How many attempts the policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Why it is not going on, all reasons.
    #[serde(default)]
    pub blocked_by: Vec<Blocker>,
    /// Why it failed; `null`: it did not.
    pub error: Option<UpdateError>,
    /// Whether it could be undone; missing: not known yet, or no update is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// In `rollback-needed`, whether it is going back; `false`: it waits for an operator. Missing in other states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub going_back: Option<bool>,
}

/// Whether an update could be undone. Known before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// In one word.
    pub state: RollbackState,
    /// The commit it would go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether an update could be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollbackState {
    /// There is a release to go back to, in full, and it may be handed over.
    Possible,
    /// There is none.
    Impossible,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

/// Why an update failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
    /// What was seen, a line each: container states, the Supervisor's answer, every rule a release breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// When it failed, device's clock.
    pub at: Timestamp,
}

/// The rollout a node takes part in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// `rol_…`.
    pub id: String,
    /// Derived by [`RolloutState::from_update`]; `null`: not taken up.
    pub state: Option<RolloutState>,
}

/// How a node is reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The device's addresses as the Supervisor reports them.
    #[serde(default)]
    pub ip_addresses: Vec<String>,
    /// The device's hardware addresses.
    #[serde(default)]
    pub mac_addresses: Vec<String>,
}

/// Whether all is as it should be, and if not, what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// `ok` unless there is an issue.
    pub state: HealthState,
    /// What is wrong, oldest first.
    #[serde(default)]
    pub issues: Vec<HealthIssue>,
}

/// The health of a node in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthState {
    /// No issue.
    #[default]
    Ok,
    /// Works, with issues.
    Degraded,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthIssue {
    /// What is wrong.
    pub code: IssueCode,
    /// Since when this run of the agent has seen it, device's clock.
    pub since: Timestamp,
    /// In words, where the code does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_image_is_told_with_its_size_in_whole_mib_where_that_is_known() {
        let image = |size_bytes| UnusedImage {
            image: "onebox:1".to_owned(),
            size_bytes,
        };
        assert_eq!(image(Some((3 << 20) + 1)).in_words(), "onebox:1 (4 MiB)");
        assert_eq!(image(None).in_words(), "onebox:1");
    }

    #[test]
    fn what_was_not_looked_at_yet_is_left_out_and_what_was_is_told() {
        let mut status: NodeStatus = serde_json::from_value(serde_json::json!({
            "agent": { "version": "0.1.0", "startedAt": "2026-11-23T11:00:00Z", "restartCount": 0, "state": "idle" },
            "update": { "kind": "app", "state": "idle", "blockedBy": [] },
            "rollout": null, "health": { "state": "ok", "issues": [] },
        }))
        .unwrap();
        let has =
            |status: &NodeStatus, member: &str| serde_json::to_value(status).unwrap().get(member).is_some();
        for member in ["supervisor", "os", "network", "release"] {
            assert!(!has(&status, member), "{member}");
        }
        status.supervisor.available = Some(false);
        status.network.ip_addresses.push("10.0.4.17".to_owned());
        status.os.name = Some("balenaOS".to_owned());
        for member in ["supervisor", "os", "network"] {
            assert!(has(&status, member), "{member}");
        }
    }
}
