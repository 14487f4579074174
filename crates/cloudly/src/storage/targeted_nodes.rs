//! Nodes with what is desired of them, as operators see and change them.

use super::audit::{self, AuditLine};
use super::database::{Connection, Error, Result, Storage};
use super::locks;
use super::nodes::{self, Lifecycle, Node};
use super::session_cache::Touched;
use super::targets::{self, Target};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::NodeReference;
use baseos_interfaces::register::POSSIBLE_REPLACEMENT;

/// A node with its target, or the target of all.
#[derive(Clone, Debug)]
pub(crate) struct TargetedNode {
    pub(crate) node: Node,
    pub(crate) target: Option<Target>,
    /// The node that it may be a replacement of, where it waits for an operator because of that.
    pub(crate) same_hardware: Option<NodeReference>,
}

/// What an operator changes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Approve,
    ClearClone,
    Lifecycle(Lifecycle),
}

impl Storage {
    /// The node with this id, unless it was abandoned.
    pub(crate) async fn node(&self, id: &str) -> Result<Option<TargetedNode>> {
        let mut connection = self.read().await?;
        let node = nodes::known(&mut connection, id).await?;
        targeted(&mut connection, node).await
    }

    /// Nodes that are not abandoned, by id, with ids above `after`.
    pub(crate) async fn nodes(&self, after: &str, limit: i64) -> Result<Vec<TargetedNode>> {
        let mut connection = self.read().await?;
        let found = nodes::list(&mut connection, after, limit).await?;
        let mut nodes = Vec::with_capacity(found.len());
        for node in found {
            nodes.extend(targeted(&mut connection, Some(node)).await?);
        }
        Ok(nodes)
    }

    /// Changes a node as `decide` says, which gets the node; `None` changes nothing. Returns the node as it is then.
    pub(crate) async fn change_node<E: From<Error>>(
        &self,
        id: &str,
        now: Timestamp,
        decide: impl FnOnce(Option<&Node>) -> std::result::Result<Option<(Change, AuditLine)>, E>,
    ) -> std::result::Result<Option<TargetedNode>, E> {
        let mut tx = self.write(Touched::Node(id.to_owned())).await?;
        locks::node(&mut tx, id).await?;
        let node = nodes::known(&mut tx, id).await?;
        let (mut tx, decided) = tx.unless_refused(decide(node.as_ref())).await?;
        if let Some((change, line)) = decided {
            match change {
                Change::Approve => nodes::approve(&mut tx, id, now).await?,
                Change::ClearClone => nodes::set_clone_suspected(&mut tx, id, None).await?,
                Change::Lifecycle(lifecycle) => nodes::set_lifecycle(&mut tx, id, lifecycle, now).await?,
            }
            audit::append(&mut tx, now, &line).await?;
        }
        let node = nodes::known(&mut tx, id).await?;
        let node = targeted(&mut tx, node).await?;
        tx.commit().await?;
        Ok(node)
    }
}

async fn targeted(c: &mut Connection, node: Option<Node>) -> Result<Option<TargetedNode>> {
    let Some(node) = node else { return Ok(None) };
    let target = targets::effective(c, &node.id).await?;
    let same_hardware = same_hardware(c, &node).await?;
    Ok(Some(TargetedNode {
        node,
        target,
        same_hardware,
    }))
}

async fn same_hardware(c: &mut Connection, node: &Node) -> Result<Option<NodeReference>> {
    let Some(hardware) = &node.facts.hardware_id else {
        return Ok(None);
    };
    if node.approval_reason.as_deref() != Some(POSSIBLE_REPLACEMENT) {
        return Ok(None);
    }
    let found = nodes::live_with_hardware(c, hardware, node.fleet.as_deref(), &node.id).await?;
    Ok(found.map(|Node { id, name, .. }| NodeReference { id, name }))
}
