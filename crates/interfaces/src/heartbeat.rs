//! `POST /baseos/v1/nodes/heartbeat` (contract §4).

use crate::Timestamp;
use crate::codes::EventKind;
use crate::command::{Command, CommandResult};
use crate::desired::Desired;
use crate::status::NodeStatus;
use crate::token::WireSecret;
use serde::{Deserialize, Serialize};

/// One heartbeat. The usual one is five small members; the rest comes only when there is something to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// See [`crate::limits::PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// New at each start of the agent; two alternating run ids are a clone.
    pub run_id: String,
    /// Counts per run id; a gap makes Cloudly ask for everything.
    pub sequence: u64,
    /// The device's clock; judged for skew, never used for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Hash of the full status, see [`crate::hash::status_hash`].
    pub status_hash: String,
    /// The desired revision this node works on; 0 = none seen.
    pub observed_revision: u64,
    /// The full status: when its hash changed or Cloudly asked. In a box, because most heartbeats have none and are moved
    /// many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<NodeStatus>>,
    /// What happened since the last accepted heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<NodeEvent>,
    /// Commands the node is done with since the last accepted heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command_results: Vec<CommandResult>,
    /// A clean stop: the silence that follows is meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goodbye: bool,
}

/// Something that happened on a node; kept by Cloudly in its event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Unique per node; Cloudly drops repetitions.
    pub id: String,
    /// When it happened, device's clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Details; which ones depends on the type.
    #[serde(default)]
    pub data: serde_json::Value,
}

/// The answer to a heartbeat as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// What the node is told, secrets apart.
    #[serde(flatten)]
    pub instructions: Instructions,
    /// New credentials; the agent stores them before it uses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// What Cloudly tells a node, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instructions {
    /// Now, on Cloudly's clock.
    pub server_time: Timestamp,
    /// When the next heartbeat is due, seconds.
    pub next_heartbeat_seconds: u32,
    /// Send the full status next time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend_full_status: bool,
    /// What is desired; missing when `observedRevision` is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Desired>,
    /// What to do; each command repeats until its result arrives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// Present when an operator's decision about this node changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<crate::register::Approval>,
    /// Cloudly sees two agents with this identity: desired and commands are withheld.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clone_suspected: bool,
}

/// New credentials for a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// A `szn_` token; the old one dies when this one is first used.
    pub node_token: WireSecret,
}
