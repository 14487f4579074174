//! Targets: what is desired of one node, or of all nodes without a target of their own.

use super::app::App;
use super::error::{Error, Result};
use super::{audit, desired_state, nodes, policy_rules};
use crate::auth::operators::Operator;
use crate::storage::database::Connection;
use crate::storage::nodes::set_desired_floor;
use crate::storage::targets::{self, ALL, Target};
use crate::storage::{locks, releases};
use baseos_interfaces::admin::{DesiredRecord, DesiredSet, SetDesired};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::rules::check_commit;
use serde_json::json;

/// An observed revision that is further ahead of the last issued one is not believed, so that a node cannot use up
/// the numbers.
const REVISION_LEAD_MAX: u64 = 1_000_000;

/// Sets the target of one node, or of all.
pub(crate) async fn set(
    app: &App,
    operator: &Operator,
    node: Option<&str>,
    request: SetDesired,
) -> Result<DesiredSet> {
    policy_rules::check(&request.policy)?;
    if let Some(commit) = &request.commit {
        check_commit(commit).map_err(|(code, message)| Error::field("/commit", code, message))?;
    }
    let now = app.clock.now();
    let mut tx = app.storage.write().await?;
    if let Some(node) = node {
        locks::node(&mut tx, node).await?;
        nodes::find(&mut tx, node).await?;
    }
    if let Some(commit) = &request.commit
        && releases::find(&mut tx, commit).await?.is_none()
    {
        let message = format!("there is no release with commit `{commit}`: create it first");
        return Err(Error::field("/commit", FieldCode::UnknownRelease, message));
    }
    let revision = next_revision(app, &mut tx, node).await?;
    let scope = node.unwrap_or(ALL);
    let data = json!({ "commit": request.commit, "revision": revision, "force": request.policy.force });
    let target = Target {
        scope: scope.to_owned(),
        commit: request.commit,
        policy: request.policy,
        revision,
        set_at: now,
        set_by: operator.id.clone(),
    };
    targets::put(&mut tx, &target).await?;
    audit::record(app, &mut tx, &operator.id, "desired.set", Some(scope), data).await?;
    tx.commit().await?;
    Ok(DesiredSet { revision })
}

/// Removes a node's own target: the one of all applies to it again, under a higher revision.
pub(crate) async fn unset(app: &App, operator: &Operator, node: &str) -> Result<DesiredSet> {
    let mut tx = app.storage.write().await?;
    locks::node(&mut tx, node).await?;
    let floor = nodes::find(&mut tx, node).await?.desired_floor;
    if !targets::remove(&mut tx, node).await? {
        let target = targets::effective(&mut tx, node).await?;
        let revision = desired_state::revision(target.as_ref(), floor);
        return Ok(DesiredSet { revision });
    }
    let revision = next_revision(app, &mut tx, Some(node)).await?;
    set_desired_floor(&mut tx, node, revision).await?;
    let data = json!({ "revision": revision });
    audit::record(app, &mut tx, &operator.id, "desired.unset", Some(node), data).await?;
    tx.commit().await?;
    Ok(DesiredSet { revision })
}

/// A revision above every issued one and above what nodes say they have seen: this database may have been restored
/// from a backup.
async fn next_revision(app: &App, c: &mut Connection, node: Option<&str>) -> Result<u64> {
    let issued = targets::last_revision(c).await?;
    let observed = app.presence.highest_observed(node);
    let believed = if observed <= issued.saturating_add(REVISION_LEAD_MAX) {
        observed
    } else {
        0
    };
    Ok(targets::next_revision(c, believed).await?)
}

/// What is desired of one node, or of all.
pub(crate) async fn show(app: &App, node: Option<&str>) -> Result<DesiredRecord> {
    let mut connection = app.storage.read().await?;
    let floor = match node {
        Some(node) => nodes::find(&mut connection, node).await?.desired_floor,
        None => 0,
    };
    let target = targets::effective(&mut connection, node.unwrap_or(ALL)).await?;
    let revision = desired_state::revision(target.as_ref(), floor);
    Ok(match target {
        Some(target) => DesiredRecord {
            revision,
            own: target.scope != ALL,
            commit: target.commit,
            policy: target.policy,
            set_at: Some(target.set_at),
            set_by: Some(target.set_by),
        },
        None => DesiredRecord {
            revision,
            own: false,
            commit: None,
            policy: Default::default(),
            set_at: None,
            set_by: None,
        },
    })
}
