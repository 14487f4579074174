//! Registration (contract §3): a join token becomes a node.

use super::admission::{self, Admission, Refusal};
use super::app::App;
use super::error::{Error, Result};
use super::join_tokens::give_back_uses;
use super::refusals;
use super::validate::{self, labels, text};
use crate::auth::limits::source;
use crate::auth::refusals::Kind;
use crate::auth::tokens;
use crate::storage::audit::AuditLine;
use crate::storage::join_tokens::JoinToken;
use crate::storage::node_tokens::NewToken;
use crate::storage::nodes::Node;
use crate::storage::registrations::Admitted;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::{Capability, FieldCode};
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use baseos_interfaces::register::{Fleet, RegisterAnswer, RegisterRequest, ServerLimits};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;
use std::net::IpAddr;

/// An admitted node with its first token.
struct Enrolled {
    node: Node,
    token: Token,
    repeated: bool,
}

/// `Err`: why not, and the token that was presented if it could be read.
type Outcome = std::result::Result<Enrolled, (Refusal, Option<Token>)>;

/// Registers a node. The flag says whether this registration is a repetition.
pub(crate) async fn register(
    app: &App,
    ip: IpAddr,
    request: &RegisterRequest,
) -> Result<(bool, RegisterAnswer)> {
    validate::protocol(request.protocol_version)?;
    check(request)?;
    let now = app.clock.now();
    let Enrolled {
        node,
        token,
        repeated,
    } = match enrol(app, request, now).await? {
        Ok(enrolled) => enrolled,
        Err((refusal, token)) => {
            count_refusal(app, ip, request, refusal, token.as_ref())?;
            return Err(Error::JoinTokenInvalid);
        }
    };
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
        capabilities: vec![Capability::ResendFullStatus, Capability::Commands],
        server_time: now,
    };
    Ok((repeated, answer))
}

fn check(request: &RegisterRequest) -> Result<()> {
    text("/node/name", &request.node.name, 1, 255)?;
    text("/node/agentVersion", &request.node.agent_version, 1, 64)?;
    let facts = &request.node;
    for (pointer, value) in [
        ("/node/hardwareId", &facts.hardware_id),
        ("/node/balenaUuid", &facts.balena_uuid),
        ("/node/deviceType", &facts.device_type),
        ("/node/architecture", &facts.architecture),
        ("/node/osName", &facts.os_name),
        ("/node/osVersion", &facts.os_version),
        ("/node/osVariant", &facts.os_variant),
        ("/node/supervisorVersion", &facts.supervisor_version),
    ] {
        if let Some(value) = value {
            text(pointer, value, 1, 255)?;
        }
    }
    labels(&request.labels)?;
    if request.capabilities.len() > 64 {
        return Err(Error::field(
            "/capabilities",
            FieldCode::TooMany,
            "at most 64 capabilities",
        ));
    }
    request
        .capabilities
        .iter()
        .try_for_each(|capability| text("/capabilities", capability.as_str(), 1, 64))
}

async fn enrol(app: &App, request: &RegisterRequest, now: Timestamp) -> Result<Outcome> {
    let Ok(presented) = Token::parse(TokenKind::Join, request.join_token.expose()) else {
        return Ok(Err((Refusal::Malformed, None)));
    };
    // Read first: whoever guesses tokens must not queue for the one connection that writes.
    let stored = app.storage.join_token(presented.id().as_str()).await?;
    let mac = stored.as_ref().map(|token| token.mac.as_str());
    if !app.pepper.verify(&presented, mac) {
        return Ok(Err((Refusal::Unknown, Some(presented))));
    }
    // A repetition takes no use, so it is limited like a node's requests.
    app.count_request(format!("{}/{}", presented.id(), request.registration_id))?;
    if let Some(refusal) = refusal_of_a_new_one(app, stored, &request.registration_id, now).await? {
        return Ok(Err((refusal, Some(presented))));
    }
    let minted = tokens::mint(TokenKind::Node)?;
    let new = NewToken {
        id: minted.id().as_str(),
        mac: &app.pepper.mac(&minted),
        command: None,
    };
    let mut repeated = false;
    let outcome = app
        .storage
        .register(
            presented.id().as_str(),
            &request.registration_id,
            request.node.hardware_id.as_deref(),
            new,
            now,
            |facts| {
                let admission = match admission::admit(facts, request, now)? {
                    Ok(admission) => admission,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                repeated = admission.repeated;
                Ok::<_, Error>(Ok(admitted(admission, presented.id().as_str(), request)))
            },
        )
        .await?;
    Ok(match outcome {
        Some(Ok(node)) => Ok(Enrolled {
            node,
            token: minted,
            repeated,
        }),
        Some(Err(refusal)) => Err((refusal, Some(presented))),
        None => Err((Refusal::Unknown, Some(presented))),
    })
}

fn admitted(admission: Admission, join_token: &str, request: &RegisterRequest) -> Admitted {
    let Admission {
        node,
        replacement,
        same_hardware,
        repeated,
        takes_use,
    } = admission;
    let mut data = json!({
        "joinToken": join_token, "registrationId": request.registration_id, "name": node.name,
        "approval": node.approval, "approvalReason": node.approval_reason, "replaces": replacement.is_some(),
    });
    if let Some(other) = same_hardware {
        data["sameHardware"] = json!(other);
    }
    let action = if repeated {
        "node.registeredAgain"
    } else {
        "node.registered"
    };
    Admitted {
        line: AuditLine::new(&node.id, action, Some(&node.id), data),
        node,
        replacement,
        takes_use,
    }
}

/// Why a registration that never came before is refused, told without a transaction.
async fn refusal_of_a_new_one(
    app: &App,
    token: Option<JoinToken>,
    registration: &RegistrationId,
    now: Timestamp,
) -> Result<Option<Refusal>> {
    let Some(mut token) = token else {
        return Ok(Some(Refusal::Unknown));
    };
    let Some(refusal) = admission::refusal(&token, now) else {
        return Ok(None);
    };
    // What was not confirmed in time is a use that is left.
    if matches!(refusal, Refusal::Spent) && give_back_uses(app).await? > 0 {
        match app.storage.join_token(&token.id).await? {
            Some(found) => token = found,
            None => return Ok(Some(Refusal::Unknown)),
        }
    }
    if app.storage.has_registered(&token.id, registration).await? {
        return Ok(None);
    }
    Ok(admission::refusal(&token, now))
}

/// Counts a refusal, against the address and for the audit log.
fn count_refusal(
    app: &App,
    ip: IpAddr,
    request: &RegisterRequest,
    refusal: Refusal,
    token: Option<&Token>,
) -> Result<()> {
    let token = token.map(|token| token.id().to_string());
    let data = json!({
        "registrationId": request.registration_id, "name": request.node.name, "address": ip.to_string(),
        "joinToken": token,
    });
    let is_genuine = !matches!(refusal, Refusal::Malformed | Refusal::Unknown);
    let kind = Kind {
        action: "joinToken.refused",
        reason: refusal.as_str(),
        subject: token.filter(|_| is_genuine),
        source: Some(source(ip)),
    };
    refusals::count(app, kind, data);
    app.count_failure(ip)
}
