//! Who this node is, once enrolled.

use baseos_interfaces::limits::{HEARTBEAT_MAX_BYTES, MIN_HEARTBEAT_SECONDS};
use baseos_interfaces::register::Approval;
use serde::{Deserialize, Serialize};

/// Until Cloudly says otherwise.
const HEARTBEAT_SECONDS: u32 = 60;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// `node_…`; `None`: not known, because the checkpoint that had it could not be used.
    pub(crate) id: Option<String>,
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
    /// The largest heartbeat that Cloudly takes, bytes.
    #[serde(default = "max_body_bytes")]
    pub(crate) max_body_bytes: u64,
    /// When the next heartbeat is due unless Cloudly says otherwise.
    pub(crate) heartbeat_seconds: u32,
}

fn max_body_bytes() -> u64 {
    HEARTBEAT_MAX_BYTES as u64
}

impl Node {
    /// The id, as people are told it.
    pub(crate) fn in_words(&self) -> String {
        match &self.id {
            Some(id) => format!("enrolled as {id}"),
            None => "enrolled; its id is not known".to_owned(),
        }
    }

    /// A node of which only the token is left, and perhaps the id.
    pub(crate) fn unknown(id: Option<&str>) -> Self {
        Self {
            id: id.map(str::to_owned),
            approval: Approval::Approved,
            approval_reason: None,
            fleet: None,
            confirmed: false,
            enrolled_epoch: 0,
            min_heartbeat_seconds: MIN_HEARTBEAT_SECONDS,
            max_body_bytes: max_body_bytes(),
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
