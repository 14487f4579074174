//! Targets: which release is desired, of one node or of all. The table is `desired`.

use super::audit::{self, AuditLine};
use super::columns::{from_json, signed, to_json, unsigned};
use super::database::{Connection, Error, Result, Storage};
use super::nodes::{self, Node};
use super::session_cache::Touched;
use super::{locks, releases};
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::Policy;
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// The scope of the target of every node without one of its own.
pub(crate) const ALL: &str = "all";

#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// [`ALL`] or a node's id.
    pub(crate) scope: String,
    /// `None`: no release is desired.
    pub(crate) commit: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) revision: u64,
    pub(crate) set_at: Timestamp,
    pub(crate) set_by: String,
}

impl Target {
    /// Until when its order to go ahead holds. One of before there was an end has none.
    pub(crate) fn force_until(&self) -> Option<Timestamp> {
        self.policy.force.as_ref()?.expires_at
    }

    /// Its policy at that time: the order to go ahead ends by itself.
    pub(crate) fn policy_at(&self, now: Timestamp) -> Policy {
        let mut policy = self.policy.clone();
        if self.force_until().is_some_and(|until| until <= now) {
            policy.force = None;
        }
        policy
    }
}

/// What a target is decided by.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The node that the target is for, if there is one with that id.
    pub(crate) node: Option<&'a Node>,
    /// What counts there before.
    pub(crate) present: Option<&'a Target>,
    /// Whether there is a release with the desired commit.
    pub(crate) release_exists: bool,
    /// The last revision issued.
    pub(crate) issued: u64,
}

impl Storage {
    /// Sets a target, of `all` nodes without one of their own or of one node. `decide` gets the facts and says above
    /// which revision the new one has to be, and what it is but for the revision. Returns the revision.
    pub(crate) async fn set_target<E: From<Error>>(
        &self,
        node: Option<&str>,
        commit: Option<&str>,
        decide: impl FnOnce(&Facts<'_>) -> std::result::Result<(u64, Target), E>,
        line: impl FnOnce(&Target) -> AuditLine,
    ) -> std::result::Result<u64, E> {
        let mut tx = self
            .write(node.map_or(Touched::All, |node| Touched::Node(node.to_owned())))
            .await?;
        let known = locked(&mut tx, node).await?;
        let present = effective(&mut tx, node.unwrap_or(ALL)).await?;
        let facts = Facts {
            node: known.as_ref(),
            present: present.as_ref(),
            release_exists: match commit {
                Some(commit) => releases::find(&mut tx, commit).await?.is_some(),
                None => true,
            },
            issued: last_revision(&mut tx).await?,
        };
        let (mut tx, (seen, mut target)) = tx.unless_refused(decide(&facts)).await?;
        let count = if target.force_until().is_some() { 2 } else { 1 };
        target.revision = next_revisions(&mut tx, seen, count).await?;
        put(&mut tx, &target).await?;
        audit::append(&mut tx, target.set_at, &line(&target)).await?;
        tx.commit().await?;
        Ok(target.revision)
    }

    /// Removes a node's own target. `decide` is as for [`Self::set_target`]. Returns the node's floor and the target
    /// that applies to it then.
    pub(crate) async fn unset_target<E: From<Error>>(
        &self,
        node: &str,
        now: Timestamp,
        decide: impl FnOnce(&Facts<'_>) -> std::result::Result<u64, E>,
        line: impl FnOnce(u64) -> AuditLine,
    ) -> std::result::Result<(u64, Option<Target>), E> {
        let mut tx = self.write(Touched::Node(node.to_owned())).await?;
        let known = locked(&mut tx, Some(node)).await?;
        let present = effective(&mut tx, node).await?;
        let facts = Facts {
            node: known.as_ref(),
            present: present.as_ref(),
            release_exists: true,
            issued: last_revision(&mut tx).await?,
        };
        let (mut tx, seen) = tx.unless_refused(decide(&facts)).await?;
        let mut floor = known.map_or(0, |node| node.desired_floor);
        if remove(&mut tx, node).await? {
            // The second one is for the end of an order to all.
            floor = next_revisions(&mut tx, seen, 2).await?;
            nodes::set_desired_floor(&mut tx, node, floor).await?;
            audit::append(&mut tx, now, &line(floor)).await?;
        }
        let target = effective(&mut tx, node).await?;
        tx.commit().await?;
        Ok((floor, target))
    }

    /// The target of all nodes without one of their own.
    pub(crate) async fn target_of_all(&self) -> Result<Option<Target>> {
        effective(&mut *self.read().await?, ALL).await
    }
}

/// The node, with the locks for a change of its target, or of that of all.
async fn locked(c: &mut Connection, node: Option<&str>) -> Result<Option<Node>> {
    let node = match node {
        Some(node) => {
            locks::node(c, node).await?;
            nodes::known(c, node).await?
        }
        None => None,
    };
    locks::revisions(c).await?;
    Ok(node)
}

/// Issues so many revisions, and returns the first: above every issued one, and above `seen`, what nodes say they have
/// seen (more than was issued when this database was restored from a backup).
async fn next_revisions(c: &mut Connection, seen: u64, count: u64) -> Result<u64> {
    let row = sqlx::query(
        "UPDATE counters SET value = CASE WHEN value < $1 THEN $1 ELSE value END + $2
         WHERE name = 'desired' RETURNING value",
    )
    .bind(signed(seen))
    .bind(signed(count))
    .fetch_one(c)
    .await?;
    Ok(unsigned(&row, "value")?.saturating_sub(count - 1))
}

/// The last revision issued.
async fn last_revision(c: &mut Connection) -> Result<u64> {
    let row = sqlx::query("SELECT value FROM counters WHERE name = 'desired'")
        .fetch_one(c)
        .await?;
    unsigned(&row, "value")
}

async fn put(c: &mut Connection, target: &Target) -> Result<()> {
    sqlx::query(
        "INSERT INTO desired (scope, commit_id, policy, revision, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope) DO UPDATE SET commit_id = excluded.commit_id, policy = excluded.policy,
             revision = excluded.revision, set_at = excluded.set_at, set_by = excluded.set_by",
    )
    .bind(&target.scope)
    .bind(&target.commit)
    .bind(to_json(&target.policy)?)
    .bind(signed(target.revision))
    .bind(millis(target.set_at))
    .bind(&target.set_by)
    .execute(c)
    .await?;
    Ok(())
}

/// `false`: the scope had no target.
async fn remove(c: &mut Connection, scope: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM desired WHERE scope = $1")
        .bind(scope)
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A node's own target, else the one of all.
pub(super) async fn effective(c: &mut Connection, node: &str) -> Result<Option<Target>> {
    let rows = sqlx::query("SELECT * FROM desired WHERE scope = $1 OR scope = $2")
        .bind(node)
        .bind(ALL)
        .fetch_all(c)
        .await?;
    let targets = rows.iter().map(target).collect::<Result<Vec<_>>>()?;
    Ok(targets.into_iter().max_by_key(|target| target.scope != ALL))
}

fn target(row: &AnyRow) -> Result<Target> {
    Ok(Target {
        scope: row.try_get("scope")?,
        commit: row.try_get("commit_id")?,
        policy: from_json(row.try_get("policy")?)?,
        revision: unsigned(row, "revision")?,
        set_at: timestamp(row.try_get("set_at")?),
        set_by: row.try_get("set_by")?,
    })
}
