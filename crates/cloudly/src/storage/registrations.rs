//! Registrations: a use of a join token, the node, and its first token, in one act.

use super::audit::{self, AuditLine};
use super::database::{Connection, Error, Result, Storage};
use super::join_token_uses::{self, Use};
use super::join_tokens::{self, JoinToken};
use super::locks;
use super::node_tokens::{self, NewToken};
use super::nodes::{self, Node};
use super::replacements::{self, Replacement};
use super::session_cache::Touched;
use baseos_interfaces::Timestamp;
use baseos_interfaces::registration::RegistrationId;
use std::collections::BTreeSet;

/// What a registration is decided by.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) token: JoinToken,
    /// What became of this registration before.
    pub(crate) earlier: Option<Earlier>,
    /// The node with this hardware that has been heard from and was not removed, for a registration without a node of this
    /// hardware.
    pub(crate) same_hardware: Option<Node>,
}

/// A registration that came before.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) used: Use,
    /// `None`: it was to replace a node's device, and another one has.
    pub(crate) node: Option<Node>,
    /// It is to replace the node's device, as this.
    pub(crate) replacement: Option<String>,
    /// It named other hardware than it does now.
    pub(crate) other_hardware: bool,
}

/// A node that is admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// As it is described by the registration.
    pub(crate) node: Node,
    /// The node exists, and becomes so when the replacement is heard.
    pub(crate) replacement: Option<Replacement>,
    /// Its use of the join token is taken now, and not kept from before.
    pub(crate) takes_use: bool,
    pub(crate) line: AuditLine,
}

impl Storage {
    /// Registers the node that `decide` admits, and returns it. `None`: there is no such join token. What `decide`
    /// refuses changes nothing.
    pub(crate) async fn register<E: From<Error>, R>(
        &self,
        join_token: &str,
        registration: &RegistrationId,
        hardware: Option<&str>,
        new: NewToken<'_>,
        now: Timestamp,
        decide: impl FnOnce(Facts) -> std::result::Result<std::result::Result<Admitted, R>, E>,
    ) -> std::result::Result<Option<std::result::Result<Node, R>>, E> {
        let mut tx = self.write(Touched::Nothing).await?;
        locks::join_token(&mut tx, join_token).await?;
        let Some(token) = join_tokens::find(&mut tx, join_token).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let facts = facts(&mut tx, token, registration, hardware).await?;
        let earlier = facts.earlier.as_ref().map(|earlier| {
            let node = earlier.node.as_ref().map(|node| node.id.clone());
            (earlier.used.holder_id.clone(), node)
        });
        let (mut tx, decided) = tx.unless_refused(decide(facts)).await?;
        let Admitted {
            node,
            replacement,
            takes_use,
            line,
        } = match decided {
            Ok(admitted) => admitted,
            Err(refusal) => {
                tx.rollback().await?;
                return Ok(Some(Err(refusal)));
            }
        };
        if takes_use {
            join_token_uses::take(&mut tx, join_token).await?;
        }
        let mut touched = BTreeSet::from([node.id.clone()]);
        let holder = match &replacement {
            Some(replacement) => {
                replacements::put(&mut tx, replacement, &node).await?;
                &replacement.id
            }
            None => {
                nodes::put(&mut tx, &node).await?;
                &node.id
            }
        };
        if let Some((earlier, earlier_node)) = earlier.filter(|(earlier, _)| earlier != holder) {
            withdraw(&mut tx, &earlier).await?;
            touched.extend(earlier_node);
        }
        tx.touch(Touched::Nodes(touched));
        node_tokens::insert(&mut tx, holder, new, now).await?;
        join_token_uses::bind(&mut tx, join_token, registration, holder, now).await?;
        audit::append(&mut tx, now, &line).await?;
        tx.commit().await?;
        Ok(Some(Ok(node)))
    }
}

/// Locks the nodes too.
async fn facts(
    c: &mut Connection,
    token: JoinToken,
    registration: &RegistrationId,
    hardware: Option<&str>,
) -> Result<Facts> {
    let earlier = match join_token_uses::find(c, &token.id, registration).await? {
        Some(used) => Some(earlier_of(c, used, hardware).await?),
        None => None,
    };
    let is_known = earlier
        .as_ref()
        .is_some_and(|earlier| earlier.node.is_some() && !earlier.other_hardware);
    let same_hardware = match hardware.filter(|_| !is_known) {
        Some(hardware) => live_with_hardware(c, hardware, token.fleet.as_deref()).await?,
        None => None,
    };
    Ok(Facts {
        token,
        earlier,
        same_hardware,
    })
}

async fn earlier_of(c: &mut Connection, used: Use, hardware: Option<&str>) -> Result<Earlier> {
    let replaced = replacements::node_of(c, &used.holder_id).await?;
    let is_of_other_hardware = |node: &Node| node.facts.hardware_id.as_deref() != hardware;
    if let Some(id) = &replaced
        && let Some(node) = nodes::find(c, id).await?
        && is_of_other_hardware(&node)
    {
        // It is not to replace this node any more, so the node is not locked: another one may have to be.
        return Ok(Earlier {
            replacement: Some(used.holder_id.clone()),
            used,
            node: Some(node),
            other_hardware: true,
        });
    }
    locks::node(c, replaced.as_ref().unwrap_or(&used.holder_id)).await?;
    // Another replacement may have taken effect until the node was locked.
    let node_id = match &replaced {
        Some(_) => replacements::node_of(c, &used.holder_id).await?,
        None => Some(used.holder_id.clone()),
    };
    let node = match &node_id {
        Some(id) => nodes::find(c, id).await?,
        None => None,
    };
    Ok(Earlier {
        replacement: replaced.map(|_| used.holder_id.clone()),
        used,
        other_hardware: node.as_ref().is_some_and(is_of_other_hardware),
        node,
    })
}

/// Voids what a registration was before: a node that has not been heard from, or a replacement.
async fn withdraw(c: &mut Connection, holder: &str) -> Result<()> {
    for statement in [
        "DELETE FROM node_tokens WHERE node_id = $1
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE id = $1 AND confirmed_at IS NOT NULL)",
        "DELETE FROM replacements WHERE id = $1",
        "UPDATE nodes SET lifecycle = 'abandoned'
         WHERE id = $1 AND confirmed_at IS NULL AND lifecycle = 'active'",
    ] {
        sqlx::query(statement).bind(holder).execute(&mut *c).await?;
    }
    Ok(())
}

async fn live_with_hardware(c: &mut Connection, hardware: &str, fleet: Option<&str>) -> Result<Option<Node>> {
    let mut locked = None;
    loop {
        let found = nodes::live_with_hardware(c, hardware, fleet, "").await?;
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
