//! Node records and node tokens.

use super::{Connection, Result, from_json, signed, to_json, unsigned};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::register::{Approval, NodeFacts};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::NodeStatus;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// What an operator (or the passing of time) made of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Active,
    Suspended,
    Removed,
    /// Its join-token use was given back before its first heartbeat.
    Abandoned,
}

impl Lifecycle {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
            Self::Abandoned => "abandoned",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "suspended" => Self::Suspended,
            "abandoned" => Self::Abandoned,
            // A value only a newer Cloudly knows: the choice that lets nothing through.
            _ => Self::Removed,
        }
    }
}

fn approval_str(approval: Approval) -> &'static str {
    match approval {
        Approval::Approved => "approved",
        Approval::Pending | Approval::Unknown => "pending",
    }
}

fn read_approval(text: &str) -> Approval {
    if text == "approved" {
        Approval::Approved
    } else {
        Approval::Pending
    }
}

/// A node as stored.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) facts: NodeFacts,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) fleet: Option<String>,
    pub(crate) approval: Approval,
    pub(crate) approval_reason: Option<String>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clone_suspected: bool,
    pub(crate) enrolled_at: Timestamp,
    pub(crate) desired_floor: u64,
    pub(crate) status: Option<NodeStatus>,
}

const NODE: &str = "SELECT n.*, s.status FROM nodes n LEFT JOIN node_status s ON s.node_id = n.id WHERE ";

fn node(row: &SqliteRow) -> Result<Node> {
    Ok(Node {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        facts: from_json(row.try_get("facts")?)?,
        labels: from_json(row.try_get("labels")?)?,
        capabilities: from_json(row.try_get("capabilities")?)?,
        fleet: row.try_get("fleet")?,
        approval: read_approval(row.try_get("approval")?),
        approval_reason: row.try_get("approval_reason")?,
        lifecycle: Lifecycle::read(row.try_get("lifecycle")?),
        clone_suspected: row.try_get::<Option<i64>, _>("clone_suspected_at")?.is_some(),
        enrolled_at: timestamp(row.try_get("enrolled_at")?),
        desired_floor: unsigned(row, "desired_floor")?,
        status: row
            .try_get::<Option<&str>, _>("status")?
            .map(from_json)
            .transpose()?,
    })
}

/// The node with this id, whatever became of it.
pub(crate) async fn find(c: &mut Connection, id: &str) -> Result<Option<Node>> {
    let sql = const_format(NODE, "n.id = $1");
    let row = sqlx::query(sql).bind(id).fetch_optional(c).await?;
    row.as_ref().map(node).transpose()
}

/// Nodes by id, from behind `after`; without abandoned ones.
pub(crate) async fn list(c: &mut Connection, after: &str, limit: i64) -> Result<Vec<Node>> {
    let sql = const_format(
        NODE,
        "n.id > $1 AND n.lifecycle <> 'abandoned' ORDER BY n.id LIMIT $2",
    );
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(c).await?;
    rows.iter().map(node).collect()
}

/// The live node with this hardware, if any: one that has been heard from and was not removed.
pub(crate) async fn live_with_hardware(c: &mut Connection, hardware: &str) -> Result<Option<Node>> {
    let sql = const_format(
        NODE,
        "n.hardware_id = $1 AND n.confirmed_at IS NOT NULL AND n.lifecycle IN ('active', 'suspended')
         ORDER BY n.enrolled_at DESC LIMIT 1",
    );
    let row = sqlx::query(sql).bind(hardware).fetch_optional(c).await?;
    row.as_ref().map(node).transpose()
}

/// Both parts are constants of this file, so the text is safe by construction.
fn const_format(select: &'static str, rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{select}{rest}"))
}

/// Stores a node, or what a node says of itself when it registers again under its old id.
pub(crate) async fn put(c: &mut Connection, node: &Node) -> Result<()> {
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

/// Lets a pending node in; `false`: it was not pending.
pub(crate) async fn approve(c: &mut Connection, id: &str, now: Timestamp) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE nodes SET approval = 'approved', approval_reason = NULL, approval_decided_at = $2
         WHERE id = $1 AND approval <> 'approved'",
    )
    .bind(id)
    .bind(millis(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes what became of a node.
pub(crate) async fn set_lifecycle(c: &mut Connection, id: &str, lifecycle: Lifecycle) -> Result<()> {
    sqlx::query("UPDATE nodes SET lifecycle = $2 WHERE id = $1")
        .bind(id)
        .bind(lifecycle.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Notes or clears the suspicion; `false`: it stood so already.
pub(crate) async fn set_clone(c: &mut Connection, id: &str, since: Option<Timestamp>) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE nodes SET clone_suspected_at = $2 WHERE id = $1 AND (clone_suspected_at IS NULL) <> ($2 IS NULL)",
    )
    .bind(id)
    .bind(since.map(millis))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets the revision below which the node's desired state never falls.
pub(crate) async fn set_desired_floor(c: &mut Connection, id: &str, floor: u64) -> Result<()> {
    sqlx::query("UPDATE nodes SET desired_floor = $2 WHERE id = $1")
        .bind(id)
        .bind(signed(floor))
        .execute(c)
        .await?;
    Ok(())
}

/// The node's first heartbeat came.
pub(crate) async fn set_confirmed(c: &mut Connection, id: &str, now: Timestamp) -> Result<()> {
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

/// What a heartbeat needs to know of the node its token belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    pub(crate) mac: String,
    pub(crate) token_id: String,
    pub(crate) is_next: bool,
    /// The `rotateToken` command the token was made for.
    pub(crate) token_command: Option<String>,
    pub(crate) token_used: bool,
    pub(crate) node_id: String,
    pub(crate) approval: Approval,
    pub(crate) approval_decided: bool,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clone_suspected: bool,
    pub(crate) desired_floor: u64,
    pub(crate) status_hash: Option<String>,
    pub(crate) update_state: UpdateState,
    pub(crate) target_commit: Option<String>,
    pub(crate) running_commit: Option<String>,
}

/// The node whose token has this public id.
pub(crate) async fn bearer(c: &mut Connection, token_id: &str) -> Result<Option<Bearer>> {
    let row = sqlx::query(
        "SELECT t.mac, t.slot, t.command_id, t.first_used_at, n.id, n.approval, n.approval_decided_at, n.lifecycle,
             n.clone_suspected_at, n.desired_floor, s.status_hash, s.update_state, s.target_commit, s.running_commit
         FROM node_tokens t JOIN nodes n ON n.id = t.node_id LEFT JOIN node_status s ON s.node_id = n.id
         WHERE t.id = $1",
    )
    .bind(token_id)
    .fetch_optional(c)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state: Option<&str> = row.try_get("update_state")?;
    Ok(Some(Bearer {
        mac: row.try_get("mac")?,
        token_id: token_id.to_owned(),
        is_next: row.try_get::<&str, _>("slot")? == "next",
        token_command: row.try_get("command_id")?,
        token_used: row.try_get::<Option<i64>, _>("first_used_at")?.is_some(),
        node_id: row.try_get("id")?,
        approval: read_approval(row.try_get("approval")?),
        approval_decided: row.try_get::<Option<i64>, _>("approval_decided_at")?.is_some(),
        lifecycle: Lifecycle::read(row.try_get("lifecycle")?),
        clone_suspected: row.try_get::<Option<i64>, _>("clone_suspected_at")?.is_some(),
        desired_floor: unsigned(&row, "desired_floor")?,
        status_hash: row.try_get("status_hash")?,
        update_state: state
            .and_then(|state| serde_json::from_value(serde_json::Value::from(state)).ok())
            .unwrap_or_default(),
        target_commit: row.try_get("target_commit")?,
        running_commit: row.try_get("running_commit")?,
    }))
}

/// A token to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) id: &'a str,
    pub(crate) mac: &'a str,
    /// The `rotateToken` command it is made for.
    pub(crate) command: Option<&'a str>,
}

/// Adds a token. The first goes into `current`. A later one goes into `next`; what was there before dies, unless
/// `current` was never used either: then it moves up, for an answer to a repeated registration may have been lost.
pub(crate) async fn add_token(
    c: &mut Connection,
    node: &str,
    token: NewToken<'_>,
    now: Timestamp,
) -> Result<()> {
    let current: Option<Option<i64>> =
        sqlx::query_scalar("SELECT first_used_at FROM node_tokens WHERE node_id = $1 AND slot = 'current'")
            .bind(node)
            .fetch_optional(&mut *c)
            .await?;
    let has_next = sqlx::query("SELECT 1 FROM node_tokens WHERE node_id = $1 AND slot = 'next'")
        .bind(node)
        .fetch_optional(&mut *c)
        .await?
        .is_some();
    match current {
        Some(None) if has_next => promote(c, node).await?,
        Some(_) if has_next => {
            sqlx::query("DELETE FROM node_tokens WHERE node_id = $1 AND slot = 'next'")
                .bind(node)
                .execute(&mut *c)
                .await?;
        }
        _ => {}
    }
    sqlx::query(
        "INSERT INTO node_tokens (id, mac, node_id, slot, issued_at, command_id) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.id)
    .bind(token.mac)
    .bind(node)
    .bind(if current.is_some() { "next" } else { "current" })
    .bind(millis(now))
    .bind(token.command)
    .execute(c)
    .await?;
    Ok(())
}

/// Whether a token with this public id is still good.
pub(crate) async fn token_lives(c: &mut Connection, id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM node_tokens WHERE id = $1")
        .bind(id)
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}

/// Notes a token's first use. The first use of `next` makes it `current`; the old one dies. `false`: the token died
/// since it was looked up.
pub(crate) async fn use_token(c: &mut Connection, bearer: &Bearer, now: Timestamp) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE node_tokens SET first_used_at = COALESCE(first_used_at, $2) WHERE id = $1 RETURNING slot",
    )
    .bind(&bearer.token_id)
    .bind(millis(now))
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = done else { return Ok(false) };
    if row.try_get::<&str, _>(0)? == "next" {
        promote(c, &bearer.node_id).await?;
    }
    Ok(true)
}

async fn promote(c: &mut Connection, node: &str) -> Result<()> {
    sqlx::query("DELETE FROM node_tokens WHERE node_id = $1 AND slot = 'current'")
        .bind(node)
        .execute(&mut *c)
        .await?;
    sqlx::query("UPDATE node_tokens SET slot = 'current' WHERE node_id = $1 AND slot = 'next'")
        .bind(node)
        .execute(c)
        .await?;
    Ok(())
}
