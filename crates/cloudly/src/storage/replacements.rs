//! Replacements: new devices for known nodes that were registered and not heard yet. The node is as it was until the
//! first heartbeat of one of them (contract §3.4).

use super::columns::{from_json, to_json};
use super::database::{Connection, Result};
use super::nodes::{self, Node};
use baseos_interfaces::codes::Capability;
use baseos_interfaces::register::{Approval, NodeFacts};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use std::collections::BTreeMap;

/// A registration that replaces a node's device.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    /// What its tokens and its use of the join token stand under until it is heard.
    pub(crate) id: String,
    /// The node waits for an operator then, because of this.
    pub(crate) approval_reason: Option<String>,
}

/// What the node becomes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: String,
    facts: NodeFacts,
    labels: BTreeMap<String, String>,
    capabilities: Vec<Capability>,
    fleet: Option<String>,
    approval_reason: Option<String>,
}

/// The node that this replacement is for; `None`: there is no such replacement.
pub(super) async fn node_of(c: &mut Connection, id: &str) -> Result<Option<String>> {
    Ok(
        sqlx::query_scalar("SELECT node_id FROM replacements WHERE id = $1")
            .bind(id)
            .fetch_optional(c)
            .await?,
    )
}

/// Inserts a replacement of this node, or describes it anew.
pub(super) async fn put(c: &mut Connection, replacement: &Replacement, becomes: &Node) -> Result<()> {
    let description = Description {
        name: becomes.name.clone(),
        facts: becomes.facts.clone(),
        labels: becomes.labels.clone(),
        capabilities: becomes.capabilities.clone(),
        fleet: becomes.fleet.clone(),
        approval_reason: replacement.approval_reason.clone(),
    };
    sqlx::query(
        "INSERT INTO replacements (id, node_id, description) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET description = excluded.description",
    )
    .bind(&replacement.id)
    .bind(&becomes.id)
    .bind(to_json(&description)?)
    .execute(c)
    .await?;
    Ok(())
}

/// Lets a replacement take effect: its tokens become the only ones of the node, and those of other replacements are
/// void. The node is locked. `false`: it has taken effect before.
pub(super) async fn take_effect(c: &mut Connection, id: &str) -> Result<bool> {
    let row = sqlx::query("SELECT node_id, description FROM replacements WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *c)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let id_of_node: String = row.try_get(0)?;
    let description: Description = from_json(row.try_get(1)?)?;
    if let Some(node) = nodes::find(c, &id_of_node).await? {
        nodes::put(c, &described(node, description)).await?;
    }
    sqlx::query(
        "DELETE FROM node_tokens WHERE node_id = $1
             OR node_id IN (SELECT id FROM replacements WHERE node_id = $1 AND id <> $2)",
    )
    .bind(&id_of_node)
    .bind(id)
    .execute(&mut *c)
    .await?;
    for statement in [
        "UPDATE node_tokens SET node_id = $1 WHERE node_id = $2",
        "UPDATE join_uses SET node_id = $1 WHERE node_id = $2",
    ] {
        sqlx::query(statement)
            .bind(&id_of_node)
            .bind(id)
            .execute(&mut *c)
            .await?;
    }
    sqlx::query("DELETE FROM replacements WHERE node_id = $1")
        .bind(&id_of_node)
        .execute(c)
        .await?;
    Ok(true)
}

fn described(mut node: Node, description: Description) -> Node {
    let Description {
        name,
        facts,
        labels,
        capabilities,
        fleet,
        approval_reason,
    } = description;
    node.name = name;
    node.facts = facts;
    node.labels = labels;
    node.capabilities = capabilities;
    node.fleet = fleet;
    if approval_reason.is_some() {
        node.approval = Approval::Pending;
        node.approval_reason = approval_reason;
    }
    node
}
