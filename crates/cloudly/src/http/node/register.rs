//! `POST /baseos/v1/nodes/register`.

use crate::http::body::{self, BodyError};
use crate::http::extract::{Peer, Shared};
use crate::http::problem::Answer;
use crate::service::registrations;
use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use baseos_interfaces::limits::REGISTER_MAX_BYTES;
use baseos_interfaces::register::{RegisterAnswer, RegisterRequest};
use baseos_interfaces::registration::RegistrationId;
use serde::Deserialize;

pub(super) async fn register(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    request: Request,
) -> Answer<(StatusCode, Json<RegisterAnswer>)> {
    let request = read(request).await?;
    let (repeated, answer) = registrations::register(&app, peer.ip(), &request).await?;
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(answer)))
}

async fn read(request: Request) -> Result<RegisterRequest, BodyError> {
    let bytes = body::bytes(request, REGISTER_MAX_BYTES).await?;
    body::parse(&bytes).map_err(|error| bad_registration_id(&error, &bytes).unwrap_or(error))
}

/// What is wrong with a registration id. The parser's own error may repeat what was sent, so `body` drops its text.
fn bad_registration_id(error: &BodyError, bytes: &[u8]) -> Option<BodyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent {
        registration_id: String,
    }
    let BodyError::Member { pointer, .. } = error else {
        return None;
    };
    if pointer != "/registrationId" {
        return None;
    }
    let sent: Sent = body::parse(bytes).ok()?;
    let reason = RegistrationId::parse(sent.registration_id).err()?;
    Some(BodyError::Member {
        pointer: pointer.clone(),
        code: reason.code(),
        message: reason.to_string(),
    })
}
