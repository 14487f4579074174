//! `cloudly node approve`, `suspend`, `restore`, `remove` and `clear-clone`: what was decided about a node, in one line.

use super::client::{Client, segment};
use super::output::{self, Outcome, plain};
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::register::Approval;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Approve,
    Suspend,
    Restore,
    Remove,
    ClearClone,
}

pub(super) async fn decide(client: &Client, node: &str, decision: Decision) -> Outcome {
    let before = client.node(node).await?;
    let path = format!("nodes/{}/{}", segment(&before.id)?, path(decision));
    let after: NodeRecord = client.post(&path, &()).await?;
    if client.json {
        return output::json(&after);
    }
    output::line(&confirmation(decision, &before, &after))
}

const fn path(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Suspend => "suspend",
        Decision::Restore => "restore",
        Decision::Remove => "remove",
        Decision::ClearClone => "clear-clone",
    }
}

fn confirmation(decision: Decision, before: &NodeRecord, after: &NodeRecord) -> String {
    let id = &after.id;
    let node = format!("{} ({id})", plain(&after.name));
    let waits = |node: &NodeRecord| node.approval != Approval::Approved;
    let done = match decision {
        Decision::Approve => "approved; what is desired reaches it with its next heartbeat".to_owned(),
        Decision::Suspend => {
            format!(
                "suspended; its heartbeats are refused until `cloudly node restore {id}`, and its apps go on"
            )
        }
        Decision::Restore if waits(after) => {
            format!("restored; it waits for your approval: `cloudly node approve {id}`")
        }
        Decision::Restore => "restored; its heartbeats are taken again".to_owned(),
        Decision::Remove => {
            format!("removed; it is told so and its apps go on; `cloudly node restore {id}` takes it back")
        }
        Decision::ClearClone => "no longer suspected to run twice".to_owned(),
    };
    let changed = match decision {
        Decision::Approve => waits(before),
        Decision::Suspend | Decision::Restore | Decision::Remove => before.lifecycle != after.lifecycle,
        Decision::ClearClone => before.clone_suspected,
    };
    if changed {
        format!("{node} is {done}")
    } else {
        format!("{node}: nothing to do, it is {}", state(decision))
    }
}

/// What a node is that needs no decision.
const fn state(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved already",
        Decision::Suspend => "suspended already",
        Decision::Restore => "neither suspended nor removed",
        Decision::Remove => "removed already",
        Decision::ClearClone => "not suspected to run twice",
    }
}
