//! Nodes, as operators see and change them.

use super::app::App;
use super::error::{Error, Result};
use super::page::PageRequest;
use super::{audit, desired_state};
use crate::auth::operators::Operator;
use crate::presence::judge::judge;
use crate::storage::database::{self, Connection};
use crate::storage::nodes::{self, Lifecycle, Node};
use crate::storage::{locks, targets};
use baseos_interfaces::admin::{NodeRecord, Page, PresenceState};
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::status::{HealthIssue, HealthState};
use serde_json::json;

/// By id, which is the order of arrival.
pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<NodeRecord>> {
    let mut connection = app.storage.read().await?;
    let rows = nodes::list(&mut connection, request.after(), request.limit()).await?;
    let page = request.page(rows, |node| node.id.clone());
    let mut items = Vec::with_capacity(page.items.len());
    for node in page.items {
        items.push(record(app, &mut connection, node).await?);
    }
    Ok(Page {
        items,
        next: page.next,
    })
}

pub(crate) async fn show(app: &App, id: &str) -> Result<NodeRecord> {
    let mut connection = app.storage.read().await?;
    let node = find(&mut connection, id).await?;
    Ok(record(app, &mut connection, node).await?)
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
    use Decision::{Approve, ClearClone, Remove, Restore, Suspend};
    let now = app.clock.now();
    let mut tx = app.storage.write().await?;
    locks::node(&mut tx, id).await?;
    let node = find(&mut tx, id).await?;
    let lifecycle = match decision {
        Suspend => Some(Lifecycle::Suspended),
        Restore => Some(Lifecycle::Active),
        Remove => Some(Lifecycle::Removed),
        Approve | ClearClone => None,
    };
    if node.lifecycle == Lifecycle::Removed && !matches!(decision, Restore | Remove) {
        let message = format!("the node `{id}` was removed; restore it first");
        return Err(Error::Conflict(message));
    }
    let (action, changed) = match decision {
        Approve => ("node.approved", nodes::approve(&mut tx, id, now).await?),
        ClearClone => (
            "node.cloneCleared",
            nodes::set_clone_suspected(&mut tx, id, None).await?,
        ),
        Suspend => ("node.suspended", lifecycle != Some(node.lifecycle)),
        Restore => ("node.restored", lifecycle != Some(node.lifecycle)),
        Remove => ("node.removed", lifecycle != Some(node.lifecycle)),
    };
    if changed {
        if let Some(lifecycle) = lifecycle {
            nodes::set_lifecycle(&mut tx, id, lifecycle).await?;
        }
        let data = json!({ "name": node.name });
        audit::record(app, &mut tx, &operator.id, action, Some(id), data).await?;
    }
    let node = find(&mut tx, id).await?;
    let record = record(app, &mut tx, node).await?;
    tx.commit().await?;
    if matches!(decision, ClearClone) {
        app.presence.forget_runs(id);
    }
    Ok(record)
}

/// The node with this id, unless it was abandoned.
pub(super) async fn find(c: &mut Connection, id: &str) -> Result<Node> {
    nodes::find(c, id)
        .await?
        .filter(|node| node.lifecycle != Lifecycle::Abandoned)
        .ok_or_else(|| Error::NotFound {
            noun: "node",
            id: id.to_owned(),
        })
}

async fn record(app: &App, c: &mut Connection, node: Node) -> database::Result<NodeRecord> {
    let target = targets::effective(c, &node.id).await?;
    let desired_revision = desired_state::revision(target.as_ref(), node.desired_floor);
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
    let state = presence.as_ref().map_or(PresenceState::Offline, |presence| {
        judge(presence, app.clock.now(), app.started_at)
    });
    Ok(NodeRecord {
        id: node.id,
        name: node.name,
        facts: node.facts,
        labels: node.labels,
        approval: node.approval,
        approval_reason: node.approval_reason,
        lifecycle: node.lifecycle.as_str().to_owned(),
        clone_suspected: node.clone_suspected,
        presence: state,
        last_seen_at: presence.as_ref().map(|presence| presence.last_seen_at),
        enrolled_at: node.enrolled_at,
        desired_revision,
        observed_revision: presence.map_or(0, |presence| presence.observed),
        desired_commit: target.and_then(|target| target.commit),
        status,
    })
}
