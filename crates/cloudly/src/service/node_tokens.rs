//! Node tokens: who sends a heartbeat, and how a token is replaced.

use super::app::App;
use super::audit;
use super::error::{Error, Result};
use crate::auth::tokens;
use crate::storage::node_tokens::{self, NewToken, NodeSession};
use crate::storage::nodes::{self, Lifecycle};
use crate::storage::{commands, database, join_token_uses, locks};
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{Command, CommandAction, CommandResult, CommandState};
use baseos_interfaces::heartbeat::Credentials;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;
use std::net::IpAddr;

/// The node behind a bearer token, if it may speak.
pub(crate) async fn authenticate(app: &App, ip: IpAddr, bearer: Option<&str>) -> Result<NodeSession> {
    let token = bearer.and_then(|text| Token::parse(TokenKind::Node, text).ok());
    let session = match &token {
        Some(token) => verify(app, token).await?,
        None => None,
    };
    let Some(session) = session else {
        app.count_failure(ip)?;
        tracing::info!(%ip, token = token.as_ref().map(|t| t.id().as_str()), "a node token was refused");
        return Err(Error::NodeTokenInvalid);
    };
    app.count_request(session.node_id.clone())?;
    let next_heartbeat_seconds = app.settings.heartbeat_seconds;
    match session.lifecycle {
        Lifecycle::Active | Lifecycle::Abandoned => Ok(session),
        Lifecycle::Suspended => Err(Error::NodeSuspended {
            next_heartbeat_seconds,
        }),
        Lifecycle::Removed => Err(Error::NodeRemoved {
            next_heartbeat_seconds,
        }),
    }
}

async fn verify(app: &App, token: &Token) -> database::Result<Option<NodeSession>> {
    let mut connection = app.storage.read().await?;
    let session = node_tokens::session(&mut connection, token.id().as_str()).await?;
    let mac = session.as_ref().map(|session| session.token_mac.as_str());
    let known = app.pepper.verify(token, mac);
    Ok(session.filter(|_| known))
}

/// On the first use of a token, makes it the only one of its node and confirms the join token's use behind it.
pub(super) async fn note_first_use(app: &App, session: &NodeSession, now: Timestamp) -> Result<()> {
    if session.token_used && !session.token_is_next {
        return Ok(());
    }
    let node = session.node_id.as_str();
    let mut tx = app.storage.write().await?;
    locks::join_tokens_of(&mut tx, node).await?;
    locks::node(&mut tx, node).await?;
    if !node_tokens::note_use(&mut tx, session, now).await? {
        return Err(Error::NodeTokenInvalid);
    }
    // A token that a command asked for has no use of a join token behind it.
    if session.token_command.is_none() && !join_token_uses::confirm(&mut tx, node, now).await? {
        // Too late: the use was given back and none is left.
        tx.rollback().await?;
        let mut tx = app.storage.write().await?;
        let data = json!({ "reason": "joinTokenUseGivenBack", "nodeToken": session.token_id });
        audit::record(app, &mut tx, "cloudly", "node.refused", Some(node), data).await?;
        tx.commit().await?;
        return Err(Error::NodeTokenInvalid);
    }
    if let Some(command) = &session.token_command {
        // The command has done what it was for, whatever becomes of the node before it can say so.
        let result = CommandResult {
            id: command.clone(),
            state: CommandState::Succeeded,
            finished_at: now,
            message: None,
        };
        commands::set_result(&mut tx, node, &result, now).await?;
    }
    nodes::confirm(&mut tx, node, now).await?;
    let action = if session.token_is_next {
        "node.tokenChanged"
    } else {
        "node.confirmed"
    };
    let data = json!({ "nodeToken": session.token_id });
    audit::record(app, &mut tx, node, action, Some(node), data).await?;
    tx.commit().await?;
    app.pending_tokens.remove(node);
    Ok(())
}

/// The new token that a `rotateToken` command asks for, the same one until it is used.
pub(super) async fn rotate(
    app: &App,
    session: &NodeSession,
    commands: &[Command],
    now: Timestamp,
) -> Result<Option<Credentials>> {
    let asks = |command: &&Command| command.action == CommandAction::RotateToken {};
    let Some(command) = commands.iter().rev().find(asks) else {
        return Ok(None);
    };
    if session.token_command.as_ref() == Some(&command.id) {
        return Ok(None);
    }
    let node = session.node_id.as_str();
    let mut tx = app.storage.write().await?;
    locks::node(&mut tx, node).await?;
    if let Some(token) = app.pending_tokens.get(node, &command.id)
        && node_tokens::exists(&mut tx, token.id().as_str()).await?
    {
        return Ok(Some(credentials(&token)));
    }
    let token = tokens::mint(TokenKind::Node)?;
    let new = NewToken {
        id: token.id().as_str(),
        mac: &app.pepper.mac(&token),
        command: Some(&command.id),
    };
    node_tokens::insert(&mut tx, node, new, now).await?;
    let data = json!({ "nodeToken": token.id(), "command": command.id });
    audit::record(app, &mut tx, "cloudly", "node.tokenIssued", Some(node), data).await?;
    let credentials = credentials(&token);
    // Before the commit, which lets the next heartbeat look for it. A token that is not stored is not found.
    app.pending_tokens.set(node, &command.id, token);
    tx.commit().await?;
    Ok(Some(credentials))
}

fn credentials(token: &Token) -> Credentials {
    Credentials {
        node_token: WireSecret::from(token),
    }
}
