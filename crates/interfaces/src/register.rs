//! `POST /baseos/v1/nodes/register` (contract §3).

use crate::Timestamp;
use crate::codes::Capability;
use crate::registration::RegistrationId;
use crate::token::WireSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The request. It holds a secret, so it is built at the edge and never stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterRequest {
    /// See [`crate::limits::PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// A `szj_` token.
    pub join_token: WireSecret,
    /// Made by the agent and kept until it is enrolled: repeating a registration spends nothing.
    pub registration_id: RegistrationId,
    /// What the node says of itself.
    pub node: NodeFacts,
    /// Free `key=value` pairs for operators.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What this agent can do beyond the protocol version.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
}

/// What a node says of itself. No secret; the agent keeps these as facts of its run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// Name for people; the host's name unless configured.
    pub name: String,
    /// `sha256:<hex>` over stable hardware identifiers; tells a reinstall from a new box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_id: Option<String>,
    /// `BALENA_DEVICE_UUID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balena_uuid: Option<String>,
    /// `BALENA_DEVICE_TYPE`, e.g. `generic-amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<String>,
    /// `amd64`, `aarch64`, `armv7hf`, as balena names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// `balenaOS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_name: Option<String>,
    /// e.g. `6.5.24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `prod` or `dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_variant: Option<String>,
    /// e.g. `19.0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_version: Option<String>,
    /// This agent's version.
    pub agent_version: String,
}

/// The answer: 201 the first time, 200 when the same registration is repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterAnswer {
    /// `node_…`.
    pub node_id: String,
    /// A `szn_` token.
    pub node_token: WireSecret,
    /// Whether the node may receive desired state already.
    pub approval: Approval,
    /// Why approval is pending, e.g. `possibleReplacement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_reason: Option<String>,
    /// Where it belongs, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// When the first heartbeat is due, seconds.
    pub next_heartbeat_seconds: u32,
    /// What Cloudly allows.
    #[serde(default)]
    pub limits: ServerLimits,
    /// What this Cloudly can do beyond the protocol version.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Now, on Cloudly's clock.
    pub server_time: Timestamp,
}

/// The `approvalReason` of a node whose hardware another node has.
pub const POSSIBLE_REPLACEMENT: &str = "possibleReplacement";

/// Whether an operator has let the node in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// Desired state and commands flow.
    Approved,
    /// Heartbeats work; nothing is desired of the node until an operator approves.
    Pending,
    /// A value this version does not know; treated like `Pending`.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A group of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// `flt_…`.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What Cloudly allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerLimits {
    /// At most one heartbeat in this time, seconds.
    pub min_heartbeat_seconds: u32,
    /// Largest heartbeat body, bytes.
    pub max_body_bytes: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            min_heartbeat_seconds: crate::limits::MIN_HEARTBEAT_SECONDS,
            max_body_bytes: crate::limits::HEARTBEAT_MAX_BYTES as u64,
        }
    }
}
