//! Whether a join token admits a registration, and as which node (contract §3).

use super::error::Result;
use crate::random;
use crate::storage::database::Connection;
use crate::storage::join_token_uses;
use crate::storage::join_tokens::JoinToken;
use crate::storage::locks;
use crate::storage::nodes::{self, Lifecycle, Node};
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

/// The node to enrol, and whether this registration is a repetition. Takes a use if one is needed. The join token is
/// locked.
pub(super) async fn admit(
    c: &mut Connection,
    token: &JoinToken,
    request: &RegisterRequest,
    now: Timestamp,
) -> Result<std::result::Result<(Node, bool), Refusal>> {
    let earlier = join_token_uses::find(c, &token.id, &request.registration_id).await?;
    if let Some(earlier) = earlier {
        if token.revoked_at.is_some() {
            return Ok(Err(Refusal::Revoked));
        }
        // The use was taken before the token expired, so it may be repeated until a heartbeat confirms it.
        if earlier.confirmed && token.expires_at <= now {
            return Ok(Err(Refusal::Expired));
        }
        if earlier.released && !join_token_uses::take(c, &token.id, now, false).await? {
            return Ok(Err(refusal(token, now)));
        }
        locks::node(c, &earlier.node_id).await?;
        let node = nodes::find(c, &earlier.node_id).await?;
        let Some(mut node) = node.filter(|node| node.lifecycle != Lifecycle::Removed) else {
            return Ok(Err(Refusal::NodeRemoved));
        };
        if node.lifecycle == Lifecycle::Abandoned {
            node.lifecycle = Lifecycle::Active;
        }
        return Ok(Ok((described(node, token, request), true)));
    }
    if !join_token_uses::take(c, &token.id, now, false).await? {
        return Ok(Err(refusal(token, now)));
    }
    let same_hardware = match &request.node.hardware_id {
        Some(hardware) => live_with_hardware(c, hardware).await?,
        None => None,
    };
    let hardware_known = same_hardware.is_some();
    let mut node = match same_hardware.filter(|_| token.allow_replace) {
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
    Ok(Ok((described(node, token, request), false)))
}

/// The node that this one may replace, locked.
async fn live_with_hardware(c: &mut Connection, hardware: &str) -> Result<Option<Node>> {
    let mut locked = None;
    loop {
        let found = nodes::live_with_hardware(c, hardware).await?;
        let id = found.as_ref().map(|node| node.id.clone());
        // It may have changed until it was locked.
        if id == locked {
            return Ok(found);
        }
        if let Some(id) = &id {
            locks::node(c, id).await?;
        }
        locked = id;
    }
}

/// Why no use could be taken.
fn refusal(token: &JoinToken, now: Timestamp) -> Refusal {
    if token.revoked_at.is_some() {
        Refusal::Revoked
    } else if token.expires_at <= now {
        Refusal::Expired
    } else {
        Refusal::Spent
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
        clone_suspected: false,
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
