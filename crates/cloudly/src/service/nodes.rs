//! Nodes, as operators see and change them.

use super::app::App;
use super::desired_state;
use super::error::{Error, Result};
use super::page::PageRequest;
use crate::auth::operators::Operator;
use crate::presence::judge::judge;
use crate::storage::audit::AuditLine;
use crate::storage::nodes::{Lifecycle, Node};
use crate::storage::targeted_nodes::{Change, TargetedNode};
use crate::storage::targets::ALL;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{NodeRecord, Page, PresenceState};
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, BlockerKind, HealthIssue, HealthState, NodeStatus, UpdateStatus};
use serde_json::json;

/// By id, which is the order of arrival.
pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<NodeRecord>> {
    let rows = app.storage.nodes(request.after(), request.limit()).await?;
    let page = request.page(rows, |row| row.node.id.clone());
    Ok(Page {
        items: page.items.into_iter().map(|row| record(app, row)).collect(),
        next: page.next,
    })
}

pub(crate) async fn show(app: &App, id: &str) -> Result<NodeRecord> {
    let node = app.storage.node(id).await?.ok_or_else(|| not_found(id))?;
    Ok(record(app, node))
}

/// An operator's decision about a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Approve,
    Suspend,
    Restore,
    Remove,
    ClearClone,
}

/// Carries out a decision; the same one again changes nothing.
pub(crate) async fn decide(
    app: &App,
    operator: &Operator,
    id: &str,
    decision: Decision,
) -> Result<NodeRecord> {
    let node = app
        .storage
        .change_node(id, app.clock.now(), |node| {
            let change = change(node.ok_or_else(|| not_found(id))?, operator, decision)?;
            // Before others see the change: a heartbeat in between would find the clone again by the runs before.
            if matches!(decision, Decision::ClearClone) {
                app.presence.forget_runs(id);
            }
            Ok::<_, Error>(change)
        })
        .await?
        .ok_or_else(|| not_found(id))?;
    Ok(record(app, node))
}

/// `None`: it is so already.
fn change(node: &Node, operator: &Operator, decision: Decision) -> Result<Option<(Change, AuditLine)>> {
    use Decision::{Approve, ClearClone, Remove, Restore, Suspend};
    let id = node.id.as_str();
    if node.lifecycle == Lifecycle::Removed && !matches!(decision, Restore | Remove) {
        let message = format!("the node `{id}` was removed; restore it first");
        return Err(Error::Conflict(message));
    }
    let becomes = |lifecycle| (node.lifecycle != lifecycle).then_some(Change::Lifecycle(lifecycle));
    let pending = node.approval != Approval::Approved;
    let (action, change) = match decision {
        Approve => ("node.approved", pending.then_some(Change::Approve)),
        ClearClone => (
            "node.cloneCleared",
            node.clone_suspected_at.map(|_| Change::ClearClone),
        ),
        Suspend => ("node.suspended", becomes(Lifecycle::Suspended)),
        Restore => ("node.restored", becomes(Lifecycle::Active)),
        Remove => ("node.removed", becomes(Lifecycle::Removed)),
    };
    let line = AuditLine::new(&operator.id, action, Some(id), json!({ "name": node.name }));
    Ok(change.map(|change| (change, line)))
}

pub(super) fn not_found(id: &str) -> Error {
    Error::NotFound {
        noun: "node",
        id: id.to_owned(),
    }
}

fn record(
    app: &App,
    TargetedNode {
        node,
        target,
        same_hardware,
    }: TargetedNode,
) -> NodeRecord {
    let now = app.clock.now();
    let desired_revision = desired_state::revision(target.as_ref(), node.desired_floor, now);
    let presence = app.presence.get(&node.id);
    let mut status = node.status;
    if let (Some(status), Some(presence)) = (&mut status, &presence)
        && let Some(since) = presence.skew_since
        && !status
            .health
            .issues
            .iter()
            .any(|issue| issue.code == IssueCode::ClockSkew)
    {
        let detail = Some(format!("its clock is {} s off Cloudly's", presence.skew_seconds));
        status.health.issues.push(HealthIssue {
            code: IssueCode::ClockSkew,
            since,
            detail,
        });
        status.health.state = HealthState::Degraded;
    }
    let desired_own = target.as_ref().is_some_and(|target| target.scope != ALL);
    let desired_set_at = target.as_ref().map(|target| target.set_at);
    let desired_commit = target.and_then(|target| target.commit);
    if let (Some(status), Some(since)) = (&mut status, node.clone_suspected_at)
        && waits_for_orders(status, desired_commit.as_deref())
    {
        add_suspicion(&mut status.update, since);
    }
    let state = presence.as_ref().map_or(PresenceState::Offline, |presence| {
        judge(presence, now, app.started_at)
    });
    let is_active = node.lifecycle == Lifecycle::Active;
    let next_heartbeat_at = presence
        .as_ref()
        .filter(|presence| is_active && !presence.goodbye)
        .map(|presence| presence.next_due_at);
    let last_refused_at = app.presence.refused_at(&node.id).filter(|_| !is_active);
    NodeRecord {
        id: node.id,
        name: node.name,
        facts: node.facts,
        labels: node.labels,
        approval: node.approval,
        approval_reason: node.approval_reason,
        same_hardware,
        lifecycle: node.lifecycle.as_str().to_owned(),
        clone_suspected: node.clone_suspected_at.is_some(),
        presence: state,
        last_seen_at: presence.as_ref().map(|presence| presence.last_seen_at),
        next_heartbeat_at,
        last_refused_at,
        enrolled_at: node.enrolled_at,
        desired_revision,
        observed_revision: presence.map_or(0, |presence| presence.observed),
        desired_commit,
        desired_own,
        desired_set_at,
        status,
        server_time: Some(now),
    }
}

/// Whether the node has something to begin.
fn waits_for_orders(status: &NodeStatus, desired: Option<&str>) -> bool {
    use UpdateState::{Cancelled, Idle, Staged, Superseded, Waiting};
    let other = |commit: Option<&str>| desired.is_some() && desired != commit;
    match status.update.state {
        Staged | Waiting => true,
        Idle | Cancelled | Superseded => other(status.running()),
        // What is desired has been begun, or has ended.
        _ => other(status.running()) && other(status.update.target.as_deref()),
    }
}

/// Nothing is sent to a node that runs twice, and its status is the one from before: the agents need not have said it.
fn add_suspicion(update: &mut UpdateStatus, since: Timestamp) {
    let is_suspicion = |blocker: &Blocker| blocker.kind == BlockerKind::CloneSuspected;
    if !update.blocked_by.iter().any(is_suspicion) {
        let blocker = Blocker {
            kind: BlockerKind::CloneSuspected,
            holder: None,
            reason: Some("Cloudly sees two agents with this node's identity".to_owned()),
            since,
            expires_at: None,
        };
        update.blocked_by.insert(0, blocker);
    }
}
