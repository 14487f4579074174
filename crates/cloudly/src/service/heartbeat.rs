//! Heartbeats (contract §4): what a node says, and what it is told.

use super::check;
use super::desired::{self, Progress};
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::presence::Verdict;
use crate::random;
use crate::storage;
use crate::storage::nodes::{self, Bearer, Lifecycle, NewToken};
use crate::storage::{Connection, join_tokens, operations, reports};
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{Command, CommandAction, CommandResult};
use baseos_interfaces::heartbeat::{Credentials, Heartbeat, HeartbeatAnswer, Orders};
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::RolloutState;
use baseos_interfaces::status::NodeStatus;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;
use std::net::IpAddr;

/// Largest message of a command's result that is kept, bytes.
const MESSAGE_MAX_BYTES: usize = 16 * 1024;

/// Which node a token belongs to, and whether it may speak.
pub(crate) async fn authenticate(app: &App, ip: IpAddr, bearer: Option<&str>) -> Answer<Bearer> {
    let token = bearer.and_then(|text| Token::parse(TokenKind::Node, text).ok());
    let mut found = None;
    if let Some(token) = &token {
        let mut connection = app.storage.read().await?;
        let stored = nodes::bearer(&mut connection, token.id().as_str()).await?;
        if app
            .pepper
            .verify(token, stored.as_ref().map(|bearer| bearer.mac.as_str()))
        {
            found = stored;
        }
    }
    let Some(bearer) = found else {
        app.failed(ip)?;
        tracing::info!(%ip, token = token.as_ref().map(|t| t.id().as_str()), "a node token was refused");
        return Err(ApiError::node_token());
    };
    app.node_rates
        .take(bearer.node_id.clone(), app.clock.now())
        .map_err(ApiError::rate_limited)?;
    let problem = match bearer.lifecycle {
        Lifecycle::Active | Lifecycle::Abandoned => return Ok(bearer),
        Lifecycle::Suspended => Problem::new(403, code::NODE_SUSPENDED, "an operator suspended this node"),
        Lifecycle::Removed => Problem::new(410, code::NODE_REMOVED, "an operator removed this node"),
    };
    Err(Problem {
        next_heartbeat_seconds: Some(app.settings.heartbeat_seconds),
        ..problem
    }
    .into())
}

/// Takes in a heartbeat and answers it.
pub(crate) async fn beat(app: &App, bearer: &Bearer, beat: Heartbeat) -> Answer<HeartbeatAnswer> {
    check::protocol(beat.protocol_version)?;
    check::heartbeat(&beat)?;
    let now = app.clock.now();
    if bearer.is_next || !bearer.token_used {
        first_use(app, bearer, now).await?;
    }
    let node = bearer.node_id.as_str();
    let verdict = app.presence.heard(node, &beat, now);
    let clone = bearer.clone_suspected || verdict.clone;
    let asks = !verdict.stale && (verdict.gap || bearer.status_hash.as_ref() != Some(&beat.status_hash));
    let resend = beat.status.is_none() && asks;
    let observed = beat.observed_revision;
    let reported = record(app, bearer, beat, verdict, now).await?;

    let withheld = clone || bearer.approval != Approval::Approved;
    let mut orders = Orders {
        server_time: now,
        next_heartbeat_seconds: app.settings.heartbeat_seconds,
        resend_full_status: resend && !clone,
        desired: None,
        commands: Vec::new(),
        approval: (bearer.approval != Approval::Approved || bearer.approval_decided)
            .then_some(bearer.approval),
        clone_suspected: clone,
    };
    let mut credentials = None;
    if !withheld {
        let mut connection = app.storage.read().await?;
        let setting = storage::desired::effective(&mut connection, node).await?;
        let revision = desired::revision(setting.as_ref(), bearer.desired_floor);
        let progress = reported
            .as_ref()
            .map_or_else(|| Progress::stored(bearer), progress);
        let wanted = setting.as_ref().and_then(|setting| setting.commit.as_deref());
        orders.next_heartbeat_seconds = desired::interval(&app.settings, wanted, progress);
        if observed > revision {
            tracing::warn!(
                node,
                observed,
                revision,
                "the node has seen a newer revision than this database knows"
            );
        } else if observed < revision {
            orders.desired = Some(desired::document(&mut connection, setting, revision, now).await?);
        }
        orders.commands = operations::open_commands(&mut connection, node, now).await?;
        drop(connection);
        credentials = rotation(app, bearer, &orders.commands, now).await?;
    }
    app.presence.promised(node, orders.next_heartbeat_seconds, now);
    Ok(HeartbeatAnswer { orders, credentials })
}

fn progress(status: &NodeStatus) -> Progress<'_> {
    Progress {
        state: status.update.state,
        target: status.update.target.as_deref(),
        running: status.release.running.as_deref(),
    }
}

/// The first use of a token: it becomes the only one, and the join token's use is spent for good.
async fn first_use(app: &App, bearer: &Bearer, now: Timestamp) -> Answer<()> {
    let node = bearer.node_id.as_str();
    let mut tx = app.storage.write().await?;
    if !nodes::use_token(&mut tx, bearer, now).await? {
        return Err(ApiError::node_token());
    }
    // A token that a command asked for has no use of a join token behind it.
    if bearer.token_command.is_none() && !join_tokens::confirm(&mut tx, node, now).await? {
        // Too late: the use was given back, and another node has it now.
        tx.rollback().await?;
        let mut tx = app.storage.write().await?;
        let data = json!({ "reason": "joinTokenUseGivenBack", "nodeToken": bearer.token_id });
        app.audit(&mut tx, "cloudly", "node.refused", Some(node), data)
            .await?;
        tx.commit().await?;
        return Err(ApiError::node_token());
    }
    nodes::set_confirmed(&mut tx, node, now).await?;
    let action = if bearer.is_next {
        "node.tokenChanged"
    } else {
        "node.confirmed"
    };
    app.audit(
        &mut tx,
        node,
        action,
        Some(node),
        json!({ "nodeToken": bearer.token_id }),
    )
    .await?;
    tx.commit().await?;
    app.set_credentials(node, None);
    Ok(())
}

/// Stores what the heartbeat reports, if anything; the usual one reports nothing. Answers the status that counts.
async fn record(
    app: &App,
    bearer: &Bearer,
    beat: Heartbeat,
    verdict: Verdict,
    now: Timestamp,
) -> Answer<Option<NodeStatus>> {
    let newly_cloned = verdict.clone && !bearer.clone_suspected;
    let status = beat.status.filter(|_| !verdict.stale);
    if status.is_none() && beat.events.is_empty() && beat.command_results.is_empty() && !newly_cloned {
        return Ok(None);
    }
    let node = bearer.node_id.as_str();
    let mut tx = app.storage.write().await?;
    let status = match status {
        Some(mut status) => {
            if let Some(rollout) = &mut status.rollout {
                rollout.state = RolloutState::from_update(status.update.state);
            }
            reports::put_status(&mut tx, node, &beat.status_hash, &status, now).await?;
            Some(status)
        }
        None => None,
    };
    for event in &beat.events {
        reports::add_event(&mut tx, node, event, now).await?;
    }
    for result in beat.command_results {
        operations::put_result(&mut tx, node, &bounded(result), now).await?;
    }
    if newly_cloned && nodes::set_clone(&mut tx, node, Some(now)).await? {
        suspect(app, &mut tx, node, &beat.run_id).await?;
    }
    tx.commit().await?;
    Ok(status)
}

async fn suspect(app: &App, c: &mut Connection, node: &str, run: &str) -> Answer<()> {
    tracing::warn!(node, run, "two agents seem to use this node's identity");
    app.audit(
        c,
        "cloudly",
        "node.cloneSuspected",
        Some(node),
        json!({ "runId": run }),
    )
    .await
}

fn bounded(mut result: CommandResult) -> CommandResult {
    if let Some(message) = &mut result.message {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
    }
    result
}

/// The new token a `rotateToken` command asks for, again and again until it is used.
async fn rotation(
    app: &App,
    bearer: &Bearer,
    commands: &[Command],
    now: Timestamp,
) -> Answer<Option<Credentials>> {
    let asks = |command: &&Command| command.action == CommandAction::RotateToken {};
    let Some(command) = commands.iter().rev().find(asks) else {
        return Ok(None);
    };
    if bearer.token_command.as_ref() == Some(&command.id) {
        return Ok(None);
    }
    let node = bearer.node_id.as_str();
    let mut tx = app.storage.write().await?;
    if let Some(token) = app.waiting_credentials(node, &command.id)
        && nodes::token_lives(&mut tx, token.id().as_str()).await?
    {
        return Ok(Some(Credentials {
            node_token: WireSecret::from(&token),
        }));
    }
    let token = random::mint(TokenKind::Node)?;
    let new = NewToken {
        id: token.id().as_str(),
        mac: &app.pepper.mac(&token),
        command: Some(&command.id),
    };
    nodes::add_token(&mut tx, node, new, now).await?;
    app.audit(
        &mut tx,
        "cloudly",
        "node.tokenIssued",
        Some(node),
        json!({ "nodeToken": token.id(), "command": command.id }),
    )
    .await?;
    tx.commit().await?;
    let credentials = Credentials {
        node_token: WireSecret::from(&token),
    };
    app.set_credentials(node, Some((command.id.clone(), token)));
    Ok(Some(credentials))
}
