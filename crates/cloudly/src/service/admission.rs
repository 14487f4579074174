//! Whether a join token admits a registration, and as which node (contract §3).

use super::error::Result;
use crate::random;
use crate::storage::join_tokens::JoinToken;
use crate::storage::nodes::{Lifecycle, Node};
use crate::storage::registrations::Facts;
use baseos_interfaces::Timestamp;
use baseos_interfaces::register::{Approval, RegisterRequest};

/// Why a registration is refused. The answer never says it; the audit log does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Malformed,
    Unknown,
    Expired,
    Revoked,
    Spent,
    NodeRemoved,
}

impl Refusal {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
            Self::NodeRemoved => "nodeRemoved",
        }
    }
}

/// Who is admitted.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) node: Node,
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
    if let Some((earlier, node)) = facts.earlier {
        if token.revoked_at.is_some() {
            return Ok(Err(Refusal::Revoked));
        }
        // The use was taken before the token expired, so it may be repeated until a heartbeat confirms it.
        if earlier.confirmed && token.expires_at <= now {
            return Ok(Err(Refusal::Expired));
        }
        if earlier.released
            && let Some(refusal) = refusal(token, now)
        {
            return Ok(Err(refusal));
        }
        let Some(mut node) = node.filter(|node| node.lifecycle != Lifecycle::Removed) else {
            return Ok(Err(Refusal::NodeRemoved));
        };
        if node.lifecycle == Lifecycle::Abandoned {
            node.lifecycle = Lifecycle::Active;
        }
        return Ok(Ok(Admission {
            node: described(node, token, request),
            repeated: true,
            takes_use: earlier.released,
        }));
    }
    if let Some(refusal) = refusal(token, now) {
        return Ok(Err(refusal));
    }
    let hardware_known = facts.same_hardware.is_some();
    let mut node = match facts.same_hardware.filter(|_| token.allow_replace) {
        Some(node) => node,
        None => new_node(now)?,
    };
    if token.require_approval {
        node.approval = Approval::Pending;
        node.approval_reason = Some("approvalRequired".to_owned());
    } else if hardware_known && !token.allow_replace {
        node.approval = Approval::Pending;
        node.approval_reason = Some("possibleReplacement".to_owned());
    }
    Ok(Ok(Admission {
        node: described(node, token, request),
        repeated: false,
        takes_use: true,
    }))
}

/// Why no use can be taken; `None`: one can.
fn refusal(token: &JoinToken, now: Timestamp) -> Option<Refusal> {
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
fn described(mut node: Node, token: &JoinToken, request: &RegisterRequest) -> Node {
    node.name.clone_from(&request.node.name);
    node.facts = request.node.clone();
    node.labels = request.labels.clone();
    node.labels.extend(token.labels.clone());
    node.capabilities.clone_from(&request.capabilities);
    node.fleet.clone_from(&token.fleet);
    node
}
