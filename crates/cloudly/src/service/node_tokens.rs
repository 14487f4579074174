//! Node tokens: who sends a heartbeat, and how a token is replaced.

use super::app::App;
use super::error::{Error, Result};
use super::page::PageRequest;
use super::refusals;
use crate::auth::refusals::Kind;
use crate::auth::tokens;
use crate::storage::audit::AuditLine;
use crate::storage::database;
use crate::storage::node_session::NodeSession;
use crate::storage::node_tokens::{FirstUse, NewToken};
use crate::storage::nodes::Lifecycle;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{Page, RefusedNode};
use baseos_interfaces::command::{Command, CommandAction, CommandResult, CommandState};
use baseos_interfaces::heartbeat::Credentials;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// The node behind a bearer token, if it may speak.
pub(crate) async fn authenticate(app: &App, ip: IpAddr, bearer: Option<&str>) -> Result<Arc<NodeSession>> {
    let token = bearer.and_then(|text| Token::parse(TokenKind::Node, text).ok());
    let session = match &token {
        Some(token) => verify(app, token).await?,
        None => None,
    };
    let Some(session) = session else {
        app.count_failure(ip)?;
        if let Some(token) = &token {
            app.refused_tokens.note(token.id().as_str(), ip, app.clock.now());
        }
        tracing::info!(%ip, token = token.as_ref().map(|t| t.id().as_str()), "a node token was refused");
        return Err(Error::NodeTokenInvalid);
    };
    app.count_request(session.node_id.clone())?;
    may_speak(app, session)
}

/// The session now: while a request's body was on its way, its token may have been replaced or the node suspended.
pub(crate) async fn authenticate_again(app: &App, session: Arc<NodeSession>) -> Result<Arc<NodeSession>> {
    if app.storage.is_present(&session) {
        return Ok(session);
    }
    let now = app.storage.session(&session.token_id).await?;
    may_speak(app, now.ok_or(Error::NodeTokenInvalid)?)
}

/// Devices whose tokens were refused lately, by their ids.
pub(crate) fn refused(app: &App, request: &PageRequest) -> Page<RefusedNode> {
    let rows = app
        .refused_tokens
        .list(request.after(), request.size as usize + 1, app.clock.now());
    request.page(rows, |row| row.token_id.clone())
}

fn may_speak(app: &App, session: Arc<NodeSession>) -> Result<Arc<NodeSession>> {
    if matches!(session.lifecycle, Lifecycle::Suspended | Lifecycle::Removed) {
        app.presence.note_refused(&session.node_id, app.clock.now());
    }
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

async fn verify(app: &App, token: &Token) -> database::Result<Option<Arc<NodeSession>>> {
    let session = app.storage.session(token.id().as_str()).await?;
    let mac = session.as_ref().map(|session| session.token_mac.as_str());
    let known = app.pepper.verify(token, mac);
    Ok(session.filter(|_| known))
}

/// On the first use of a token, makes it the only one of its node and confirms the join token's use behind it. Returns
/// what the session is then, if it is another one: a replacement has changed the node.
pub(super) async fn note_first_use(
    app: &App,
    session: &NodeSession,
    now: Timestamp,
) -> Result<Option<Arc<NodeSession>>> {
    if session.token_used && !session.token_is_next {
        return Ok(None);
    }
    let node = session.node_id.as_str();
    // A token that a command asked for has no use of a join token behind it. The command has done what it was for,
    // whatever becomes of the node before it can say so.
    let result = session.token_command.as_ref().map(|command| CommandResult {
        id: command.clone(),
        state: CommandState::Succeeded,
        finished_at: now,
        message: None,
    });
    let action = if session.replacement.is_some() {
        "node.replaced"
    } else if session.token_is_next {
        "node.tokenChanged"
    } else {
        "node.confirmed"
    };
    let line = AuditLine::new(node, action, Some(node), json!({ "nodeToken": session.token_id }));
    match app.storage.first_use(session, result, now, line).await? {
        FirstUse::Noted => {
            app.pending_tokens.remove(node);
            if session.replacement.is_none() {
                return Ok(None);
            }
            let session = app.storage.session(&session.token_id).await?;
            session.map(Some).ok_or(Error::NodeTokenInvalid)
        }
        FirstUse::TokenGone => Err(Error::NodeTokenInvalid),
        FirstUse::JoinTokenUseGone => {
            let kind = Kind {
                action: "node.refused",
                reason: "joinTokenUseGivenBack",
                subject: Some(node.to_owned()),
                source: None,
            };
            refusals::count(app, kind, json!({ "nodeToken": session.token_id }));
            Err(Error::NodeTokenInvalid)
        }
    }
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
    let token = tokens::mint(TokenKind::Node)?;
    let new = NewToken {
        id: token.id().as_str(),
        mac: &app.pepper.mac(&token),
        command: Some(&command.id),
    };
    let data = json!({ "nodeToken": token.id(), "command": command.id });
    let line = AuditLine::new("cloudly", "node.tokenIssued", Some(node), data);
    let mut waiting = None;
    let pending = || {
        waiting = app.pending_tokens.get(node, &command.id);
        waiting.as_ref().map(|token| token.id().to_string())
    };
    // A token that is not stored in the end is not found by the next heartbeat, which issues another one.
    let issued = || app.pending_tokens.set(node, &command.id, token.clone());
    let new = app
        .storage
        .issue_token(session, new, now, line, pending, issued)
        .await?;
    let new = new.ok_or(Error::NodeTokenInvalid)?;
    Ok(Some(credentials(
        waiting.as_ref().filter(|_| !new).unwrap_or(&token),
    )))
}

fn credentials(token: &Token) -> Credentials {
    Credentials {
        node_token: WireSecret::from(token),
    }
}
