//! Registration (contract §3): a join token becomes a node.

use super::check;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::random;
use crate::storage::Connection;
use crate::storage::join_tokens::{self, JoinToken};
use crate::storage::nodes::{self, Lifecycle, NewToken, Node};
use baseos_interfaces::Timestamp;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::register::{Approval, Fleet, RegisterAnswer, RegisterRequest, ServerLimits};
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;
use std::net::IpAddr;

/// Why a registration was refused. From outside they all look the same; the audit log has the word.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Malformed,
    Unknown,
    Expired,
    Revoked,
    Spent,
    NodeRemoved,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
            Self::NodeRemoved => "nodeRemoved",
        }
    }
}

/// A node that has been let in.
struct Enrolled {
    node: Node,
    token: Token,
    repeated: bool,
}

/// Registers a node. The flag says whether this registration came before.
pub(crate) async fn register(
    app: &App,
    ip: IpAddr,
    request: &RegisterRequest,
) -> Answer<(bool, RegisterAnswer)> {
    check::protocol(request.protocol_version)?;
    check::registration(request)?;
    let now = app.clock.now();
    let enrolled = match enrol(app, request, now).await? {
        Ok(enrolled) => enrolled,
        Err((refusal, token)) => return Err(refuse(app, ip, request, refusal, token.as_ref()).await),
    };
    let Enrolled {
        node,
        token,
        repeated,
    } = enrolled;
    let settings = &app.settings;
    let answer = RegisterAnswer {
        node_id: node.id,
        node_token: WireSecret::from(&token),
        approval: node.approval,
        approval_reason: node.approval_reason,
        fleet: node.fleet.map(|name| Fleet {
            id: format!("flt_{name}"),
            name,
        }),
        next_heartbeat_seconds: settings.active_heartbeat_seconds.min(settings.heartbeat_seconds),
        limits: ServerLimits {
            min_heartbeat_seconds: settings.min_heartbeat_seconds,
            max_body_bytes: HEARTBEAT_MAX_BYTES as u64,
        },
        capabilities: vec!["resendFullStatus".to_owned(), "commands".to_owned()],
        server_time: now,
    };
    Ok((repeated, answer))
}

type Outcome = Result<Enrolled, (Refusal, Option<Token>)>;

async fn enrol(app: &App, request: &RegisterRequest, now: Timestamp) -> Answer<Outcome> {
    let Ok(presented) = Token::parse(TokenKind::Join, request.join_token.expose()) else {
        return Ok(Err((Refusal::Malformed, None)));
    };
    // Read first: guessing must not queue up for the one connection that writes.
    let stored = join_tokens::find(&mut *app.storage.read().await?, presented.id().as_str()).await?;
    let known = app
        .pepper
        .verify(&presented, stored.as_ref().map(|token| token.mac.as_str()));
    if !known {
        return Ok(Err((Refusal::Unknown, Some(presented))));
    }
    // Repeating spends no use, so it is bounded like a node's requests.
    let registration = format!("{}/{}", presented.id(), request.registration_id);
    app.node_rates
        .take(registration, now)
        .map_err(ApiError::rate_limited)?;
    let mut tx = app.storage.write().await?;
    join_tokens::give_back(&mut tx, now).await?;
    let Some(token) = join_tokens::find(&mut tx, presented.id().as_str()).await? else {
        return Ok(Err((Refusal::Unknown, Some(presented))));
    };
    let enrolled = match admit(&mut tx, &token, request, now).await? {
        Ok((node, repeated)) => {
            let minted = random::mint(TokenKind::Node)?;
            nodes::put(&mut tx, &node).await?;
            let new = NewToken {
                id: minted.id().as_str(),
                mac: &app.pepper.mac(&minted),
                command: None,
            };
            nodes::add_token(&mut tx, &node.id, new, now).await?;
            join_tokens::bind_use(&mut tx, &token.id, &request.registration_id, &node.id, now).await?;
            let data = json!({
                "joinToken": token.id, "registrationId": request.registration_id, "name": node.name,
                "approval": node.approval, "approvalReason": node.approval_reason,
            });
            let action = if repeated {
                "node.registeredAgain"
            } else {
                "node.registered"
            };
            app.audit(&mut tx, &node.id, action, Some(&node.id), data).await?;
            Ok(Enrolled {
                node,
                token: minted,
                repeated,
            })
        }
        Err(refusal) => Err((refusal, Some(presented))),
    };
    // A refusal is committed too: uses that were given back on the way stay given back.
    tx.commit().await?;
    Ok(enrolled)
}

/// Decides whether the token lets this registration in, and as which node. Takes a use if one is needed.
async fn admit(
    c: &mut Connection,
    token: &JoinToken,
    request: &RegisterRequest,
    now: Timestamp,
) -> Answer<Result<(Node, bool), Refusal>> {
    let earlier = join_tokens::find_use(c, &token.id, &request.registration_id).await?;
    if let Some(earlier) = earlier {
        if token.revoked_at.is_some() {
            return Ok(Err(Refusal::Revoked));
        }
        // The use was taken in time; only a confirmed one has nothing to repeat for once the token is over.
        if earlier.confirmed && token.expires_at <= now {
            return Ok(Err(Refusal::Expired));
        }
        if earlier.released && !join_tokens::take(c, &token.id, now, false).await? {
            return Ok(Err(why_not(token, now)));
        }
        let node = nodes::find(c, &earlier.node_id).await?;
        let Some(mut node) = node.filter(|node| node.lifecycle != Lifecycle::Removed) else {
            return Ok(Err(Refusal::NodeRemoved));
        };
        if node.lifecycle == Lifecycle::Abandoned {
            node.lifecycle = Lifecycle::Active;
        }
        return Ok(Ok((described(node, token, request), true)));
    }
    if !join_tokens::take(c, &token.id, now, false).await? {
        return Ok(Err(why_not(token, now)));
    }
    let twin = match &request.node.hardware_id {
        Some(hardware) => nodes::live_with_hardware(c, hardware).await?,
        None => None,
    };
    let twin_is_there = twin.is_some();
    let mut node = match twin.filter(|_| token.allow_replace) {
        Some(node) => node,
        None => newcomer(now)?,
    };
    if token.require_approval {
        node.approval = Approval::Pending;
        node.approval_reason = Some("approvalRequired".to_owned());
    } else if twin_is_there && !token.allow_replace {
        node.approval = Approval::Pending;
        node.approval_reason = Some("possibleReplacement".to_owned());
    }
    Ok(Ok((described(node, token, request), false)))
}

/// Why a use could not be taken.
fn why_not(token: &JoinToken, now: Timestamp) -> Refusal {
    if token.revoked_at.is_some() {
        Refusal::Revoked
    } else if token.expires_at <= now {
        Refusal::Expired
    } else {
        Refusal::Spent
    }
}

fn newcomer(now: Timestamp) -> Answer<Node> {
    Ok(Node {
        id: random::id("node_", now)?,
        name: String::new(),
        facts: Default::default(),
        labels: Default::default(),
        capabilities: Vec::new(),
        fleet: None,
        approval: Approval::Approved,
        approval_reason: None,
        lifecycle: Lifecycle::Active,
        clone_suspected: false,
        enrolled_at: now,
        desired_floor: 0,
        status: None,
    })
}

/// The node with what it says of itself. The token's labels are the operator's, so they win over the node's.
fn described(mut node: Node, token: &JoinToken, request: &RegisterRequest) -> Node {
    node.name.clone_from(&request.node.name);
    node.facts = request.node.clone();
    node.labels = request.labels.clone();
    node.labels.extend(token.labels.clone());
    node.capabilities.clone_from(&request.capabilities);
    node.fleet.clone_from(&token.fleet);
    node
}

async fn refuse(
    app: &App,
    ip: IpAddr,
    request: &RegisterRequest,
    refusal: Refusal,
    token: Option<&Token>,
) -> ApiError {
    if let Err(limited) = app.failed(ip) {
        return limited;
    }
    let id = token.map(|token| token.id().as_str());
    let data = json!({
        "reason": refusal.as_str(), "registrationId": request.registration_id, "name": request.node.name,
        "address": ip.to_string(),
    });
    let noted = async {
        let mut tx = app.storage.write().await?;
        app.audit(&mut tx, "cloudly", "joinToken.refused", id, data)
            .await?;
        tx.commit().await?;
        Ok::<(), ApiError>(())
    };
    // Without the line in the audit log there is no refusal either: the node tries again.
    match noted.await {
        Ok(()) => Problem::new(401, code::JOIN_TOKEN_INVALID, "the join token is not accepted").into(),
        Err(error) => error,
    }
}
