//! Registrations: a use of a join token, the node, and its first token, in one act.

use super::audit::{self, AuditLine};
use super::database::{Connection, Error, Result, Storage};
use super::join_token_uses::{self, Use};
use super::join_tokens::{self, JoinToken};
use super::locks;
use super::node_tokens::{self, NewToken};
use super::nodes::{self, Node};
use super::session_cache::Touched;
use baseos_interfaces::Timestamp;
use baseos_interfaces::registration::RegistrationId;

/// What a registration is decided by.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) token: JoinToken,
    /// The use that this registration took before, and its node.
    pub(crate) earlier: Option<(Use, Option<Node>)>,
    /// The node with this hardware that has been heard from and was not removed.
    pub(crate) same_hardware: Option<Node>,
}

/// A node that is admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) node: Node,
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
        let (mut tx, decided) = tx.unless_refused(decide(facts)).await?;
        let Admitted {
            node,
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
        tx.touch(Touched::Node(node.id.clone()));
        nodes::put(&mut tx, &node).await?;
        node_tokens::insert(&mut tx, &node.id, new, now).await?;
        join_token_uses::bind(&mut tx, join_token, registration, &node.id, now).await?;
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
        Some(earlier) => {
            locks::node(c, &earlier.node_id).await?;
            let node = nodes::find(c, &earlier.node_id).await?;
            Some((earlier, node))
        }
        None => None,
    };
    let same_hardware = match hardware.filter(|_| earlier.is_none()) {
        Some(hardware) => live_with_hardware(c, hardware).await?,
        None => None,
    };
    Ok(Facts {
        token,
        earlier,
        same_hardware,
    })
}

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
