//! Nodes: what they are and whether they may speak.

use super::columns::{from_json, signed, text, to_json, unsigned};
use super::database::{Connection, Result};
pub(crate) use super::node_lifecycle::Lifecycle;
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::Capability;
use baseos_interfaces::register::{Approval, NodeFacts};
use baseos_interfaces::status::NodeStatus;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

fn approval_str(approval: Approval) -> &'static str {
    match approval {
        Approval::Approved => "approved",
        Approval::Pending | Approval::Unknown => "pending",
    }
}

pub(super) fn parse_approval(text: &str) -> Approval {
    if text == "approved" {
        Approval::Approved
    } else {
        Approval::Pending
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) facts: NodeFacts,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) fleet: Option<String>,
    pub(crate) approval: Approval,
    pub(crate) approval_reason: Option<String>,
    pub(crate) lifecycle: Lifecycle,
    /// Since when two agents seem to use its identity; `None`: they do not.
    pub(crate) clone_suspected_at: Option<Timestamp>,
    pub(crate) enrolled_at: Timestamp,
    pub(crate) desired_floor: u64,
    pub(crate) status: Option<NodeStatus>,
}

/// The node with this id, unless it was abandoned.
pub(super) async fn known(c: &mut Connection, id: &str) -> Result<Option<Node>> {
    let node = find(c, id).await?;
    Ok(node.filter(|node| node.lifecycle != Lifecycle::Abandoned))
}

const NODE: &str = "SELECT n.*, s.status FROM nodes n LEFT JOIN node_status s ON s.node_id = n.id WHERE ";

fn node(row: &AnyRow) -> Result<Node> {
    Ok(Node {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        facts: from_json(row.try_get("facts")?)?,
        labels: from_json(row.try_get("labels")?)?,
        capabilities: from_json(row.try_get("capabilities")?)?,
        fleet: row.try_get("fleet")?,
        approval: parse_approval(row.try_get("approval")?),
        approval_reason: row.try_get("approval_reason")?,
        lifecycle: Lifecycle::parse(row.try_get("lifecycle")?),
        clone_suspected_at: row
            .try_get::<Option<i64>, _>("clone_suspected_at")?
            .map(timestamp),
        enrolled_at: timestamp(row.try_get("enrolled_at")?),
        desired_floor: unsigned(row, "desired_floor")?,
        status: row
            .try_get::<Option<&str>, _>("status")?
            .map(from_json)
            .transpose()?,
    })
}

/// The node with this id, in whatever lifecycle.
pub(super) async fn find(c: &mut Connection, id: &str) -> Result<Option<Node>> {
    let sql = select("n.id = $1");
    let row = sqlx::query(sql).bind(text(id)).fetch_optional(c).await?;
    row.as_ref().map(node).transpose()
}

pub(super) async fn list(c: &mut Connection, after: &str, limit: i64) -> Result<Vec<Node>> {
    let sql = select("n.id > $1 AND n.lifecycle <> 'abandoned' ORDER BY n.id LIMIT $2");
    let rows = sqlx::query(sql)
        .bind(text(after))
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter().map(node).collect()
}

/// The node with this hardware, but not `other_than`, that has been heard from and was not removed: one of this fleet before others, the approved
/// one before a duplicate of it that waits for approval, of several the one that came last.
pub(super) async fn live_with_hardware(
    c: &mut Connection,
    hardware: &str,
    fleet: Option<&str>,
    other_than: &str,
) -> Result<Option<Node>> {
    let sql = select(
        "n.hardware_id = $1 AND n.id <> $3 AND n.confirmed_at IS NOT NULL AND n.lifecycle IN ('active', 'suspended')
         ORDER BY CASE COALESCE(n.fleet, '') WHEN $2 THEN 0 ELSE 1 END,
             CASE n.approval WHEN 'approved' THEN 0 ELSE 1 END, n.enrolled_at DESC, n.id DESC LIMIT 1",
    );
    let row = sqlx::query(sql)
        .bind(hardware)
        .bind(fleet.unwrap_or_default())
        .bind(other_than)
        .fetch_optional(c)
        .await?;
    row.as_ref().map(node).transpose()
}

/// Both parts are constants of this file, so the statement is safe.
fn select(condition: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{NODE}{condition}"))
}

/// Inserts a node, or updates it when it registers again under its id.
pub(super) async fn put(c: &mut Connection, node: &Node) -> Result<()> {
    sqlx::query(
        "INSERT INTO nodes (id, name, facts, hardware_id, labels, capabilities, fleet, approval, approval_reason,
             lifecycle, enrolled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, facts = excluded.facts,
             hardware_id = excluded.hardware_id, labels = excluded.labels, capabilities = excluded.capabilities,
             fleet = excluded.fleet, approval = excluded.approval, approval_reason = excluded.approval_reason,
             lifecycle = excluded.lifecycle",
    )
    .bind(&node.id)
    .bind(&node.name)
    .bind(to_json(&node.facts)?)
    .bind(&node.facts.hardware_id)
    .bind(to_json(&node.labels)?)
    .bind(to_json(&node.capabilities)?)
    .bind(&node.fleet)
    .bind(approval_str(node.approval))
    .bind(&node.approval_reason)
    .bind(node.lifecycle.as_str())
    .bind(millis(node.enrolled_at))
    .execute(c)
    .await?;
    Ok(())
}

pub(super) async fn approve(c: &mut Connection, id: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE nodes SET approval = 'approved', approval_reason = NULL, approval_decided_at = $2 WHERE id = $1",
    )
    .bind(id)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}

pub(super) async fn set_lifecycle(
    c: &mut Connection,
    id: &str,
    lifecycle: Lifecycle,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE nodes SET lifecycle = $2, lifecycle_at = $3 WHERE id = $1")
        .bind(id)
        .bind(lifecycle.as_str())
        .bind(millis(now))
        .execute(c)
        .await?;
    Ok(())
}

/// Sets or clears the suspicion that the node was cloned.
pub(super) async fn set_clone_suspected(
    c: &mut Connection,
    id: &str,
    since: Option<Timestamp>,
) -> Result<()> {
    sqlx::query("UPDATE nodes SET clone_suspected_at = $2 WHERE id = $1")
        .bind(id)
        .bind(since.map(millis))
        .execute(c)
        .await?;
    Ok(())
}

/// Sets the revision below which the node's desired revision never falls.
pub(super) async fn set_desired_floor(c: &mut Connection, id: &str, floor: u64) -> Result<()> {
    sqlx::query("UPDATE nodes SET desired_floor = $2 WHERE id = $1")
        .bind(id)
        .bind(signed(floor))
        .execute(c)
        .await?;
    Ok(())
}

/// Notes the node's first heartbeat.
pub(super) async fn confirm(c: &mut Connection, id: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE nodes SET confirmed_at = COALESCE(confirmed_at, $2),
             lifecycle = CASE lifecycle WHEN 'abandoned' THEN 'active' ELSE lifecycle END
         WHERE id = $1",
    )
    .bind(id)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(())
}
