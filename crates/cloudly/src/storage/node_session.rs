//! What a heartbeat needs to know of the node it comes from.

use super::node_lifecycle::Lifecycle;
use super::revisions::revision_at;
use baseos_interfaces::Timestamp;
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::UpdateState;

/// A node token, and its node.
#[derive(Clone, Debug)]
pub(crate) struct NodeSession {
    pub(crate) token_mac: String,
    pub(crate) token_id: String,
    pub(crate) token_is_next: bool,
    /// The `rotateToken` command the token was issued for.
    pub(crate) token_command: Option<String>,
    pub(crate) token_used: bool,
    pub(crate) node_id: String,
    /// The token is of this replacement of the node, which was not heard yet.
    pub(crate) replacement: Option<String>,
    pub(crate) approval: Approval,
    pub(crate) approval_decided: bool,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clone_suspected: bool,
    /// The node's revision does not fall below it, also without a target.
    pub(crate) desired_floor: u64,
    pub(crate) status_hash: Option<String>,
    pub(crate) update_state: UpdateState,
    pub(crate) target_commit: Option<String>,
    pub(crate) running_commit: Option<String>,
    pub(crate) wanted: Wanted,
}

/// What operators want of a node, in brief: whether there is something to tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The revision of its target, 0 without one.
    pub(crate) target_revision: u64,
    /// The desired release.
    pub(crate) commit: Option<String>,
    /// Until when its order to go ahead holds.
    pub(crate) force_until: Option<Timestamp>,
    /// Until when the last of the commands without a result waits.
    pub(crate) commands_until: Option<Timestamp>,
}

impl NodeSession {
    /// Whether a node that has seen this revision is to be told nothing.
    pub(crate) fn is_up_to_date(&self, observed: u64, now: Timestamp) -> bool {
        let wanted = &self.wanted;
        let waits = wanted.commands_until.is_some_and(|until| until > now);
        let issued = wanted.target_revision.max(self.desired_floor);
        !waits && observed == revision_at(issued, wanted.force_until, now)
    }
}
