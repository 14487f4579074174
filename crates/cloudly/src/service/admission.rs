//! Whether a join token admits a registration, and as which node (contract §3).

use super::error::Result;
use crate::random;
use crate::storage::join_tokens::JoinToken;
use crate::storage::nodes::{Lifecycle, Node};
use crate::storage::registrations::{Earlier, Facts};
use crate::storage::replacements::Replacement;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::NodeReference;
use baseos_interfaces::register::{Approval, POSSIBLE_REPLACEMENT, RegisterRequest};

/// The node waits for an operator because its join token asks for it.
const APPROVAL_REQUIRED: &str = "approvalRequired";

/// Why a registration is refused. The answer never says it; the audit log does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Malformed,
    Unknown,
    Expired,
    Revoked,
    Spent,
    /// The registration's node has been heard from, so it has its token.
    Confirmed,
    NodeRemoved,
    /// It named other hardware before, under which an operator suspended its node.
    OtherHardware,
}

impl Refusal {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
            Self::Confirmed => "confirmed",
            Self::NodeRemoved => "nodeRemoved",
            Self::OtherHardware => "otherHardware",
        }
    }
}

/// Who is admitted.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) node: Node,
    /// The node exists, and this replaces its device.
    pub(super) replacement: Option<Replacement>,
    /// The node that has the same hardware, as far as it was asked for now.
    pub(super) same_hardware: Option<NodeReference>,
    /// The registration was admitted before.
    pub(super) repeated: bool,
    /// A use of the join token is taken.
    pub(super) takes_use: bool,
}

/// The node to enrol.
pub(super) fn admit(
    facts: Facts,
    request: &RegisterRequest,
    now: Timestamp,
) -> Result<std::result::Result<Admission, Refusal>> {
    let token = &facts.token;
    let mut takes_use = true;
    if let Some(Earlier {
        used,
        node,
        replacement,
        other_hardware,
    }) = facts.earlier
    {
        if token.revoked_at.is_some() {
            return Ok(Err(Refusal::Revoked));
        }
        // The use was taken before the token expired, so it may be repeated until a heartbeat confirms it.
        takes_use = used.released;
        if takes_use && let Some(refusal) = refusal(token, now) {
            return Ok(Err(refusal));
        }
        // Without a node another replacement was heard first; then this is like a first registration. So is a repetition
        // with other hardware: what was decided by the hardware, and by operators, was decided of another device.
        if let Some(mut node) = node {
            if node.lifecycle == Lifecycle::Removed {
                return Ok(Err(Refusal::NodeRemoved));
            }
            if used.confirmed {
                return Ok(Err(Refusal::Confirmed));
            }
            if !other_hardware {
                if node.lifecycle == Lifecycle::Abandoned {
                    node.lifecycle = Lifecycle::Active;
                }
                let replacement = replacement.map(|id| replacement_by(token, id));
                return Ok(Ok(Admission {
                    node: described(node, replacement.as_ref(), token, request),
                    replacement,
                    same_hardware: None,
                    repeated: true,
                    takes_use,
                }));
            }
            if replacement.is_none() && node.lifecycle == Lifecycle::Suspended {
                return Ok(Err(Refusal::OtherHardware));
            }
        }
    } else if let Some(refusal) = refusal(token, now) {
        return Ok(Err(refusal));
    }
    let same_hardware = facts.same_hardware.as_ref().map(|node| NodeReference {
        id: node.id.clone(),
        name: node.name.clone(),
    });
    let replaceable = |node: &Node| token.allow_replace && node.fleet == token.fleet;
    let (mut node, replacement) = match facts.same_hardware.filter(replaceable) {
        Some(node) => (node, Some(replacement_by(token, random::id("rpl_", now)?))),
        None => (new_node(now)?, None),
    };
    if replacement.is_none() {
        node.approval_reason = if token.require_approval {
            Some(APPROVAL_REQUIRED.to_owned())
        } else {
            same_hardware.as_ref().map(|_| POSSIBLE_REPLACEMENT.to_owned())
        };
        if node.approval_reason.is_some() {
            node.approval = Approval::Pending;
        }
    }
    Ok(Ok(Admission {
        node: described(node, replacement.as_ref(), token, request),
        replacement,
        same_hardware,
        repeated: false,
        takes_use,
    }))
}

fn replacement_by(token: &JoinToken, id: String) -> Replacement {
    Replacement {
        id,
        approval_reason: token.require_approval.then(|| APPROVAL_REQUIRED.to_owned()),
    }
}

/// Why no use can be taken; `None`: one can.
pub(super) fn refusal(token: &JoinToken, now: Timestamp) -> Option<Refusal> {
    if token.revoked_at.is_some() {
        Some(Refusal::Revoked)
    } else if token.expires_at <= now {
        Some(Refusal::Expired)
    } else {
        (token.uses >= token.max_uses).then_some(Refusal::Spent)
    }
}

fn new_node(now: Timestamp) -> Result<Node> {
    Ok(Node {
        id: random::id("node_", now)?,
        name: String::new(),
        facts: Default::default(),
        labels: Default::default(),
        capabilities: Vec::new(),
        fleet: None,
        approval: Approval::Approved,
        approval_reason: None,
        lifecycle: Lifecycle::Active,
        clone_suspected_at: None,
        enrolled_at: now,
        desired_floor: 0,
        status: None,
    })
}

/// The node as the request describes it. The token's labels are the operator's, so they win over the node's own.
fn described(
    mut node: Node,
    replacement: Option<&Replacement>,
    token: &JoinToken,
    request: &RegisterRequest,
) -> Node {
    if let Some(reason) = replacement.and_then(|replacement| replacement.approval_reason.clone()) {
        node.approval = Approval::Pending;
        node.approval_reason = Some(reason);
    }
    node.name.clone_from(&request.node.name);
    node.facts = request.node.clone();
    node.labels = request.labels.clone();
    node.labels.extend(token.labels.clone());
    node.capabilities.clone_from(&request.capabilities);
    node.fleet.clone_from(&token.fleet);
    node
}
