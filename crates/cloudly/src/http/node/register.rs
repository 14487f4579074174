//! `POST /baseos/v1/nodes/register`.

use crate::http::body;
use crate::http::extract::{Peer, Shared};
use crate::http::problem::Answer;
use crate::service::registrations;
use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use baseos_interfaces::limits::REGISTER_MAX_BYTES;
use baseos_interfaces::register::{RegisterAnswer, RegisterRequest};

pub(super) async fn register(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    request: Request,
) -> Answer<(StatusCode, Json<RegisterAnswer>)> {
    let request: RegisterRequest = body::json(request, REGISTER_MAX_BYTES).await?;
    let (repeated, answer) = registrations::register(&app, peer.ip(), &request).await?;
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(answer)))
}
