//! The agent's local API, for Onebox (contract §6).

use crate::Timestamp;
use crate::codes::Capability;
use crate::states::{AgentState, UpdateState};
use crate::status::{Blocker, GuardStatus, SupervisorStatus, UnusedImage, UpdateStatus};
use serde::{Deserialize, Serialize};

/// `GET /v1/handshake`: how Onebox knows where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// `baseos`.
    pub runtime: String,
    /// The agent's version.
    pub agent_version: String,
    /// `node_…`; `null`: not enrolled, or enrolled with an id that is not known.
    pub node_id: Option<String>,
    /// What this agent's local API can do.
    pub capabilities: Vec<Capability>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalStatus {
    /// One sentence for people: what it is doing and what blocks it.
    pub summary: String,
    /// What the agent is doing.
    pub state: AgentState,
    /// `node_…`; `null`: not enrolled, or enrolled with an id that is not known.
    pub node_id: Option<String>,
    /// What the local Supervisor answers.
    #[serde(default)]
    pub supervisor: SupervisorStatus,
    /// The connection to Cloudly.
    pub cloudly: CloudlyStatus,
    /// The commit that runs; `null`: unknown.
    pub running: Option<String>,
    /// The desired revision this node works on; 0 = none seen.
    pub observed_revision: u64,
    /// The current or last update.
    pub update: UpdateStatus,
    /// The guard of the agent's own update; missing: the agent has none to speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardStatus>,
    /// Images that are on the device and no longer needed; missing: none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_images: Vec<UnusedImage>,
    /// Services that do not run because an operator stopped them; missing: there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped_by_operator: Vec<String>,
    /// What is not as it should be.
    pub issues: Vec<crate::status::HealthIssue>,
}

/// The connection to Cloudly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudlyStatus {
    /// Whether the last call was accepted.
    pub connected: bool,
    /// When a call was last accepted, device's clock.
    pub last_contact_at: Option<Timestamp>,
    /// Why the last call was not accepted; `null`: it was.
    pub error: Option<String>,
    /// Calls that failed in a row.
    pub failures: u32,
}

/// `POST /v1/update/defer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeferRequest {
    /// For how long from now, seconds; the policy's `maxDeferSeconds` bounds it.
    pub until_seconds: u32,
    /// Why, for the operator.
    pub reason: String,
}

/// The answer to `check`, `approve` and `defer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAnswer {
    /// Where the update is now.
    pub state: UpdateState,
    /// What holds it back now.
    pub blocked_by: Vec<Blocker>,
    /// For `defer`: until when, device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_until: Option<Timestamp>,
}

/// What a lock holds back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LockScope {
    /// App-layer updates.
    #[default]
    App,
    /// Host OS updates.
    HostOs,
    /// Reboots.
    Reboot,
}

/// `PUT /v1/locks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockRequest {
    /// Why, for the operator; 1 to 200 characters.
    pub reason: String,
    /// For how long without renewal, seconds; 1 to 3600.
    pub ttl_seconds: u32,
    /// What it holds back.
    #[serde(default)]
    pub scope: LockScope,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The name in its path, `/v1/locks/{name}`.
    pub name: String,
    /// Who holds it, as its client calls itself.
    pub owner: String,
    /// Why it is held.
    pub reason: String,
    /// What it holds back.
    pub scope: LockScope,
    /// Rises with every acquisition; a holder that sees a higher one has lost its lock.
    pub fencing: u64,
    /// Since when it is held, device's clock; renewals do not change it.
    pub since: Timestamp,
    /// How long it lives without renewal, seconds.
    pub remaining_seconds: u64,
}

/// The lock file of a service, which keeps the Supervisor from changing it. It is no lease of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLock {
    /// Which service; `null`: the Supervisor did not say.
    pub service: Option<String>,
    /// When the Supervisor was first seen to meet it, device's clock.
    pub since: Timestamp,
}

/// `GET /v1/locks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locks {
    /// Those held over this API.
    pub locks: Vec<Lock>,
    /// Lock files that somebody else made; never touched by the agent.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// Locks of services that the Supervisor met and said so; the agent neither made nor sees their files.
    #[serde(default)]
    pub services: Vec<ServiceLock>,
    /// Whether an update is waiting for the locks to end, or goes on, so no new ones are given.
    pub draining: bool,
    /// Whether that update goes ahead despite the locks, by an operator's order; missing: it does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

/// `POST /v1/join`: a join token for a node that is not enrolled, or is to be enrolled anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinRequest {
    /// A `szj_` token.
    pub join_token: crate::token::WireSecret,
    /// Give up the present identity for a new one.
    #[serde(default)]
    pub replace: bool,
}

/// `GET /v1/doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// One line a check.
    pub checks: Vec<Check>,
}

/// One check of the doctor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be, or cannot be otherwise here.
    pub ok: bool,
    /// It cannot be otherwise here, and is a risk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// What was found.
    pub fact: String,
    /// What to do about it; missing when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// One server-sent event of `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Notice {
    /// The lifecycle moved.
    Transition {
        /// From this state.
        from: AgentState,
        /// To this state.
        to: AgentState,
        /// Because of this.
        cause: String,
    },
    /// A download advanced.
    Progress {
        /// The commit it goes to.
        target: String,
        /// How far.
        percent: u8,
    },
    /// What holds the update back changed.
    Blocked {
        /// What holds it back now; empty: nothing.
        blocked_by: Vec<Blocker>,
    },
}
