//! Targets: what is desired of one node, or of all nodes without a target of their own.

use super::app::App;
use super::error::{Error, Result};
use super::nodes::not_found;
use super::{desired_state, policy_rules};
use crate::auth::operators::Operator;
use crate::storage::audit::AuditLine;
use crate::storage::targets::{ALL, Facts, Target};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{DesiredRecord, DesiredSet, SetDesired};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::rules::check_commit;
use serde_json::json;

/// An observed revision that is further ahead of the last issued one is not believed, so that a node cannot use up
/// the numbers.
const REVISION_LEAD_MAX: u64 = 1_000_000;

/// Which revision a request to change a target is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Whatever is there.
    Any,
    /// One of these, usually one.
    OneOf(Vec<u64>),
}

impl Seen {
    fn check(&self, present: u64) -> Result<()> {
        match self {
            Self::OneOf(revisions) if !revisions.contains(&present) => {
                let wanted: Vec<_> = revisions.iter().map(u64::to_string).collect();
                let wanted = wanted.join(" or ");
                Err(Error::RevisionChanged { present, wanted })
            }
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }
}

/// Sets the target of one node, or of all.
pub(crate) async fn set(
    app: &App,
    operator: &Operator,
    node: Option<&str>,
    request: SetDesired,
    seen: &Seen,
) -> Result<DesiredSet> {
    let now = app.clock.now();
    let SetDesired {
        commit,
        mut policy,
        force_ttl_seconds,
    } = request;
    if let Some(policy) = &policy {
        policy_rules::check(policy)?;
    }
    policy_rules::limit_force(policy.as_mut(), force_ttl_seconds, now)?;
    if let Some(commit) = &commit {
        check_commit(commit).map_err(|(code, message)| Error::field("/commit", code, message))?;
    }
    let scope = node.unwrap_or(ALL);
    let wanted = commit.clone();
    let decide = |facts: &Facts<'_>| {
        let above = change(app, facts, node, seen, now)?;
        if let (Some(commit), false) = (&commit, facts.release_exists) {
            let message = format!("there is no release with commit `{commit}`: create it first");
            return Err(Error::field("/commit", FieldCode::UnknownRelease, message));
        }
        let target = Target {
            scope: scope.to_owned(),
            commit,
            policy: policy.unwrap_or_else(|| kept(facts.present)),
            revision: 0,
            set_at: now,
            set_by: operator.id.clone(),
        };
        Ok((above, target))
    };
    let line = |target: &Target| {
        let Target {
            commit,
            policy,
            revision,
            ..
        } = target;
        let data = json!({
            "commit": commit, "revision": revision, "policy": policy, "force": policy.force,
        });
        AuditLine::new(&operator.id, "desired.set", Some(scope), data)
    };
    let revision = app
        .storage
        .set_target(node, wanted.as_deref(), decide, line)
        .await?;
    Ok(DesiredSet { revision })
}

/// The policy of a target whose successor says none. An order to go ahead was for that one alone.
fn kept(present: Option<&Target>) -> Policy {
    let mut policy = present.map_or_else(Policy::default, |target| target.policy.clone());
    policy.force = None;
    policy
}

/// Removes a node's own target: the one of all applies to it again, under a higher revision.
pub(crate) async fn unset(app: &App, operator: &Operator, node: &str, seen: &Seen) -> Result<DesiredSet> {
    let now = app.clock.now();
    let decide = |facts: &Facts<'_>| change(app, facts, Some(node), seen, now);
    let line = |revision: u64| {
        let data = json!({ "revision": revision });
        AuditLine::new(&operator.id, "desired.unset", Some(node), data)
    };
    let (floor, target) = app.storage.unset_target(node, now, decide, line).await?;
    let revision = desired_state::revision(target.as_ref(), floor, now);
    Ok(DesiredSet { revision })
}

/// Whether what is there may be changed, and above which revision.
fn change(app: &App, facts: &Facts<'_>, node: Option<&str>, seen: &Seen, now: Timestamp) -> Result<u64> {
    let floor = match (node, facts.node) {
        (Some(id), None) => return Err(not_found(id)),
        (_, node) => node.map_or(0, |node| node.desired_floor),
    };
    seen.check(desired_state::revision(facts.present, floor, now))?;
    Ok(believed(app, facts, node))
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
    let now = app.clock.now();
    let revision = desired_state::revision(target.as_ref(), floor, now);
    Ok(match target {
        Some(target) => DesiredRecord {
            revision,
            own: target.scope != ALL,
            policy: target.policy_at(now),
            commit: target.commit,
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
