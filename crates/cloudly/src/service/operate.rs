//! What operators do. Every change is in the audit log, in the same transaction.

use super::{check, desired};
use crate::app::{App, Operator};
use crate::clock::after;
use crate::error::{Answer, ApiError};
use crate::random;
use crate::storage::desired::{ALL, Setting};
use crate::storage::join_tokens::{self, JoinToken};
use crate::storage::nodes::{self, Lifecycle, Node};
use crate::storage::{self, Connection, operations};
use baseos_interfaces::admin::{
    CommandRecord, CreateCommand, CreateJoinToken, CreateRelease, CreatedJoinToken, DesiredRecord,
    DesiredSet, NodeRecord, PresenceState, ReleaseRecord, SetDesired,
};
use baseos_interfaces::command::CommandAction;
use baseos_interfaces::desired::Release;
use baseos_interfaces::status::{HealthIssue, HealthState};
use baseos_interfaces::token::{TokenKind, WireSecret};
use serde_json::json;

/// More waiting commands than this is a mistake of the one who sends them.
const OPEN_COMMANDS_MAX: i64 = 32;
/// Observed revisions further ahead than this are not believed: a node must not be able to use up the numbers.
const BELIEVABLE_LEAD: u64 = 1_000_000;

/// Makes a join token.
pub(crate) async fn create_join_token(
    app: &App,
    by: &Operator,
    wish: CreateJoinToken,
) -> Answer<CreatedJoinToken> {
    let max_uses = wish.max_uses.unwrap_or(1);
    let ttl = wish.ttl_seconds.unwrap_or(3600);
    if !(1..=100_000).contains(&max_uses) {
        return Err(ApiError::member(
            "/maxUses",
            "outOfRange",
            "maxUses is 1 to 100000",
        ));
    }
    if !(1..=30 * 86_400).contains(&ttl) {
        return Err(ApiError::member(
            "/ttlSeconds",
            "outOfRange",
            "ttlSeconds is 1 to 2592000 (30 days)",
        ));
    }
    check::labels(&wish.labels)?;
    let fleet = wish
        .fleet
        .map(|fleet| fleet.strip_prefix("flt_").map(str::to_owned).unwrap_or(fleet));
    if let Some(fleet) = &fleet {
        check::text("/fleet", fleet, 1, 64)?;
    }
    let now = app.clock.now();
    let token = random::mint(TokenKind::Join)?;
    let stored = JoinToken {
        id: token.id().to_string(),
        mac: app.pepper.mac(&token),
        max_uses,
        uses: 0,
        fleet,
        labels: wish.labels,
        require_approval: wish.require_approval,
        allow_replace: wish.allow_replace,
        created_at: now,
        created_by: by.0.clone(),
        expires_at: after(now, ttl.into()),
        revoked_at: None,
    };
    let mut tx = app.storage.write().await?;
    join_tokens::insert(&mut tx, &stored).await?;
    let data = json!({ "maxUses": max_uses, "expiresAt": stored.expires_at, "fleet": stored.fleet,
        "requireApproval": stored.require_approval, "allowReplace": stored.allow_replace });
    app.audit(&mut tx, &by.0, "joinToken.created", Some(&stored.id), data)
        .await?;
    tx.commit().await?;
    let (id, expires_at) = (stored.id, stored.expires_at);
    Ok(CreatedJoinToken {
        id,
        token: WireSecret::from(&token),
        expires_at,
        max_uses,
    })
}

/// Revokes a join token; a second time changes nothing.
pub(crate) async fn revoke_join_token(app: &App, by: &Operator, id: &str) -> Answer<()> {
    let mut tx = app.storage.write().await?;
    if join_tokens::find(&mut tx, id).await?.is_none() {
        return Err(ApiError::not_found(format!(
            "there is no join token with the id `{id}`"
        )));
    }
    if join_tokens::revoke(&mut tx, id, app.clock.now()).await? {
        app.audit(&mut tx, &by.0, "joinToken.revoked", Some(id), json!({}))
            .await?;
    }
    Ok(tx.commit().await?)
}

/// Stores a release. The flag says whether it is new; the same one again is not an error, another one with its
/// commit is.
pub(crate) async fn create_release(
    app: &App,
    by: &Operator,
    wish: CreateRelease,
) -> Answer<(bool, ReleaseRecord)> {
    check::release(&wish)?;
    let now = app.clock.now();
    let CreateRelease {
        commit,
        version,
        services,
        volumes,
        networks,
    } = wish;
    let release_id = random::id("rel_", now)?;
    let release = Release {
        release_id,
        commit,
        version,
        services,
        volumes,
        networks,
    };
    let record = ReleaseRecord {
        release,
        created_at: now,
    };
    let mut tx = app.storage.write().await?;
    if storage::desired::insert_release(&mut tx, &record, &by.0).await? {
        let data = json!({ "commit": record.release.commit, "version": record.release.version });
        app.audit(
            &mut tx,
            &by.0,
            "release.created",
            Some(&record.release.release_id),
            data,
        )
        .await?;
        tx.commit().await?;
        return Ok((true, record));
    }
    let commit = &record.release.commit;
    let known = storage::desired::release(&mut tx, commit).await?;
    let same = |known: &ReleaseRecord| {
        let as_known = Release {
            release_id: known.release.release_id.clone(),
            ..record.release.clone()
        };
        as_known == known.release
    };
    match known.filter(same) {
        Some(known) => Ok((false, known)),
        None => Err(ApiError::conflict(format!(
            "there is a release with commit {commit} and other contents; a commit never changes its contents"
        ))),
    }
}

/// Sets what is desired: of one node, or of all without a setting of their own.
pub(crate) async fn set_desired(
    app: &App,
    by: &Operator,
    node: Option<&str>,
    wish: SetDesired,
) -> Answer<DesiredSet> {
    check::desired(&wish)?;
    let now = app.clock.now();
    let mut tx = app.storage.write().await?;
    if let Some(node) = node {
        find(&mut tx, node).await?;
    }
    if let Some(commit) = &wish.commit
        && storage::desired::release(&mut tx, commit).await?.is_none()
    {
        let title = format!("there is no release with commit `{commit}`: create it first");
        return Err(ApiError::member("/commit", "unknownRelease", title));
    }
    let revision = next_revision(app, &mut tx, node).await?;
    let scope = node.unwrap_or(ALL);
    let data = json!({ "commit": wish.commit, "revision": revision, "force": wish.policy.force });
    let (commit, policy) = (wish.commit, wish.policy);
    let setting = Setting {
        scope: scope.to_owned(),
        commit,
        policy,
        revision,
        set_at: now,
        set_by: by.0.clone(),
    };
    storage::desired::put(&mut tx, &setting).await?;
    app.audit(&mut tx, &by.0, "desired.set", Some(scope), data)
        .await?;
    tx.commit().await?;
    Ok(DesiredSet { revision })
}

/// Takes a node's own setting away: what is desired of all counts again, under a higher revision.
pub(crate) async fn unset_desired(app: &App, by: &Operator, node: &str) -> Answer<DesiredSet> {
    let mut tx = app.storage.write().await?;
    let known = find(&mut tx, node).await?;
    if !storage::desired::remove(&mut tx, node).await? {
        let setting = storage::desired::effective(&mut tx, node).await?;
        return Ok(DesiredSet {
            revision: desired::revision(setting.as_ref(), known.desired_floor),
        });
    }
    let revision = next_revision(app, &mut tx, Some(node)).await?;
    nodes::set_desired_floor(&mut tx, node, revision).await?;
    app.audit(
        &mut tx,
        &by.0,
        "desired.unset",
        Some(node),
        json!({ "revision": revision }),
    )
    .await?;
    tx.commit().await?;
    Ok(DesiredSet { revision })
}

/// Above what was given out and above what nodes say they have seen, for this database may be an older copy.
async fn next_revision(app: &App, c: &mut Connection, node: Option<&str>) -> Answer<u64> {
    let given_out = storage::desired::last_revision(c).await?;
    let seen = app.presence.highest_observed(node);
    let believed = if seen <= given_out.saturating_add(BELIEVABLE_LEAD) {
        seen
    } else {
        0
    };
    Ok(storage::desired::next_revision(c, believed).await?)
}

/// What is desired of one node, or of all.
pub(crate) async fn desired(app: &App, node: Option<&str>) -> Answer<DesiredRecord> {
    let mut connection = app.storage.read().await?;
    let floor = match node {
        Some(node) => find(&mut connection, node).await?.desired_floor,
        None => 0,
    };
    let setting = storage::desired::effective(&mut connection, node.unwrap_or(ALL)).await?;
    let revision = desired::revision(setting.as_ref(), floor);
    Ok(match setting {
        Some(setting) => DesiredRecord {
            revision,
            own: desired::is_own(&setting),
            commit: setting.commit,
            policy: setting.policy,
            set_at: Some(setting.set_at),
            set_by: Some(setting.set_by),
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

/// An operator's word about a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Approve,
    Suspend,
    Restore,
    Remove,
    ClearClone,
}

/// Carries out an operator's word about a node; saying it twice changes nothing.
pub(crate) async fn decide(app: &App, by: &Operator, id: &str, decision: Decision) -> Answer<NodeRecord> {
    use Decision::{Approve, ClearClone, Remove, Restore, Suspend};
    let now = app.clock.now();
    let mut tx = app.storage.write().await?;
    let node = find(&mut tx, id).await?;
    let lifecycle = match decision {
        Suspend => Some(Lifecycle::Suspended),
        Restore => Some(Lifecycle::Active),
        Remove => Some(Lifecycle::Removed),
        Approve | ClearClone => None,
    };
    if node.lifecycle == Lifecycle::Removed && !matches!(decision, Restore | Remove) {
        return Err(ApiError::conflict(format!(
            "the node `{id}` was removed; restore it first"
        )));
    }
    let (action, changed) = match decision {
        Approve => ("node.approved", nodes::approve(&mut tx, id, now).await?),
        ClearClone => ("node.cloneCleared", nodes::set_clone(&mut tx, id, None).await?),
        Suspend => ("node.suspended", lifecycle != Some(node.lifecycle)),
        Restore => ("node.restored", lifecycle != Some(node.lifecycle)),
        Remove => ("node.removed", lifecycle != Some(node.lifecycle)),
    };
    if changed {
        if let Some(lifecycle) = lifecycle {
            nodes::set_lifecycle(&mut tx, id, lifecycle).await?;
        }
        app.audit(&mut tx, &by.0, action, Some(id), json!({ "name": node.name }))
            .await?;
    }
    let node = find(&mut tx, id).await?;
    let record = record(app, &mut tx, node).await?;
    tx.commit().await?;
    if matches!(decision, ClearClone) {
        app.presence.forget_runs(id);
    }
    Ok(record)
}

/// Sends a command to a node.
pub(crate) async fn command(
    app: &App,
    by: &Operator,
    id: &str,
    wish: CreateCommand,
) -> Answer<CommandRecord> {
    match &wish.action {
        CommandAction::Unknown(_) => {
            let title = "type is checkNow, restartService (params.service), reboot, collectLogs (params.lines) or rotateToken";
            return Err(ApiError::member("/type", "unknownCommand", title));
        }
        CommandAction::RestartService { service } => check::text("/params/service", service, 1, 63)?,
        CommandAction::CollectLogs { lines } if !(1..=500).contains(lines) => {
            return Err(ApiError::member(
                "/params/lines",
                "outOfRange",
                "lines is 1 to 500",
            ));
        }
        _ => {}
    }
    let ttl = wish.ttl_seconds.unwrap_or(3600);
    if !(1..=30 * 86_400).contains(&ttl) {
        return Err(ApiError::member(
            "/ttlSeconds",
            "outOfRange",
            "ttlSeconds is 1 to 2592000 (30 days)",
        ));
    }
    let now = app.clock.now();
    let mut tx = app.storage.write().await?;
    let node = find(&mut tx, id).await?;
    if node.lifecycle == Lifecycle::Removed {
        return Err(ApiError::conflict(format!("the node `{id}` was removed")));
    }
    if operations::open_count(&mut tx, id, now).await? >= OPEN_COMMANDS_MAX {
        let title = format!("{OPEN_COMMANDS_MAX} commands already wait for `{id}`");
        return Err(ApiError::conflict(title));
    }
    let command = CommandRecord {
        id: random::id("cmd_", now)?,
        action: wish.action,
        issued_at: now,
        expires_at: after(now, ttl.into()),
        result: None,
    };
    operations::add_command(&mut tx, id, &command, &by.0).await?;
    let data = json!({ "command": command.id, "type": command.action.name() });
    app.audit(&mut tx, &by.0, "command.created", Some(id), data)
        .await?;
    tx.commit().await?;
    Ok(command)
}

/// The node with this id; one that was abandoned does not count.
pub(crate) async fn find(c: &mut Connection, id: &str) -> Answer<Node> {
    nodes::find(c, id)
        .await?
        .filter(|node| node.lifecycle != Lifecycle::Abandoned)
        .ok_or_else(|| ApiError::not_found(format!("there is no node with the id `{id}`")))
}

/// A node with everything an operator sees of it.
pub(crate) async fn record(app: &App, c: &mut Connection, node: Node) -> Answer<NodeRecord> {
    let setting = storage::desired::effective(c, &node.id).await?;
    let desired_revision = desired::revision(setting.as_ref(), node.desired_floor);
    let promise = app.presence.get(&node.id);
    let mut status = node.status;
    if let (Some(status), Some(promise)) = (&mut status, &promise)
        && let Some(since) = promise.skew_since
        && !status.health.issues.iter().any(|issue| issue.code == "clockSkew")
    {
        let detail = Some(format!("its clock is {} s off Cloudly's", promise.skew_seconds));
        status.health.issues.push(HealthIssue {
            code: "clockSkew".to_owned(),
            since,
            detail,
        });
        status.health.state = HealthState::Degraded;
    }
    let presence = match &promise {
        Some(promise) => crate::presence::judge(promise, app.clock.now(), app.started_at),
        None => PresenceState::Offline,
    };
    Ok(NodeRecord {
        id: node.id,
        name: node.name,
        facts: node.facts,
        labels: node.labels,
        approval: node.approval,
        approval_reason: node.approval_reason,
        lifecycle: node.lifecycle.as_str().to_owned(),
        clone_suspected: node.clone_suspected,
        presence,
        last_seen_at: promise.as_ref().map(|promise| promise.last_seen_at),
        enrolled_at: node.enrolled_at,
        desired_revision,
        observed_revision: promise.map_or(0, |promise| promise.observed),
        desired_commit: setting.and_then(|setting| setting.commit),
        status,
    })
}
