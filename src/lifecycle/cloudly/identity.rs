//! Who this node is, once enrolled.

use baseos_interfaces::limits::MIN_HEARTBEAT_SECONDS;
use baseos_interfaces::register::Approval;
use serde::{Deserialize, Serialize};

/// Until Cloudly says otherwise.
const HEARTBEAT_SECONDS: u32 = 60;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// `node_…`.
    pub(crate) id: String,
    /// Whether an operator let it in.
    pub(crate) approval: Approval,
    /// Why approval is pending.
    pub(crate) approval_reason: Option<String>,
    pub(crate) fleet: Option<Fleet>,
    /// Whether Cloudly has accepted a heartbeat from it.
    pub(crate) confirmed: bool,
    /// The epoch it was enrolled in; later starts count as restarts.
    pub(crate) enrolled_epoch: u64,
    /// Cloudly's minimum between heartbeats.
    pub(crate) min_heartbeat_seconds: u32,
    /// When the next heartbeat is due unless Cloudly says otherwise.
    pub(crate) heartbeat_seconds: u32,
}

impl Node {
    /// A node of which only the token is left, and perhaps the id.
    pub(crate) fn unknown(id: Option<&str>) -> Self {
        Self {
            id: id.unwrap_or("node_unknown").to_owned(),
            approval: Approval::Approved,
            approval_reason: None,
            fleet: None,
            confirmed: false,
            enrolled_epoch: 0,
            min_heartbeat_seconds: MIN_HEARTBEAT_SECONDS,
            heartbeat_seconds: HEARTBEAT_SECONDS,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fleet {
    /// `flt_…`.
    pub(crate) id: String,
    pub(crate) name: String,
}
