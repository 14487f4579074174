//! Targets: what is desired of one node, or of all nodes without a target of their own.

use super::app::App;
use super::error::{Error, Result};
use super::nodes::not_found;
use super::{desired_state, policy_rules};
use crate::auth::operators::Operator;
use crate::storage::audit::AuditLine;
use crate::storage::targets::{ALL, Facts, Target};
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
    let scope = node.unwrap_or(ALL);
    let SetDesired { commit, policy } = request;
    let wanted = commit.clone();
    let decide = |facts: &Facts<'_>| {
        if let (Some(node), None) = (node, facts.node) {
            return Err(not_found(node));
        }
        if let (Some(commit), false) = (&wanted, facts.release_exists) {
            let message = format!("there is no release with commit `{commit}`: create it first");
            return Err(Error::field("/commit", FieldCode::UnknownRelease, message));
        }
        Ok(believed(app, facts, node))
    };
    let target = |revision| {
        let data = json!({
            "commit": commit, "revision": revision, "policy": policy, "force": policy.force,
        });
        let target = Target {
            scope: scope.to_owned(),
            commit,
            policy,
            revision,
            set_at: now,
            set_by: operator.id.clone(),
        };
        (
            target,
            AuditLine::new(&operator.id, "desired.set", Some(scope), data),
        )
    };
    let revision = app
        .storage
        .set_target(node, wanted.as_deref(), decide, target)
        .await?;
    Ok(DesiredSet { revision })
}

/// Removes a node's own target: the one of all applies to it again, under a higher revision.
pub(crate) async fn unset(app: &App, operator: &Operator, node: &str) -> Result<DesiredSet> {
    let decide = |facts: &Facts<'_>| match facts.node {
        Some(_) => Ok(believed(app, facts, Some(node))),
        None => Err(not_found(node)),
    };
    let line = |revision: u64| {
        let data = json!({ "revision": revision });
        AuditLine::new(&operator.id, "desired.unset", Some(node), data)
    };
    let (floor, target) = app
        .storage
        .unset_target(node, app.clock.now(), decide, line)
        .await?;
    let revision = desired_state::revision(target.as_ref(), floor);
    Ok(DesiredSet { revision })
}

/// What nodes say they have seen, as far as it is believed: the next revision is above it, since this database may have
/// been restored from a backup.
fn believed(app: &App, facts: &Facts<'_>, node: Option<&str>) -> u64 {
    let believable = facts.issued.saturating_add(REVISION_LEAD_MAX);
    app.presence.highest_observed(node, believable)
}

/// What is desired of one node, or of all.
pub(crate) async fn show(app: &App, node: Option<&str>) -> Result<DesiredRecord> {
    let (floor, target) = match node {
        Some(id) => {
            let found = app.storage.node(id).await?.ok_or_else(|| not_found(id))?;
            (found.node.desired_floor, found.target)
        }
        None => (0, app.storage.target_of_all().await?),
    };
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
