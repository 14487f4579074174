//! `POST /baseos/v1/nodes/heartbeat`.

use crate::http::body;
use crate::http::extract::{Peer, Shared, bearer};
use crate::http::problem::Answer;
use crate::service::{heartbeats, node_tokens};
use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;

pub(super) async fn heartbeat(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    request: Request,
) -> Answer<Json<HeartbeatAnswer>> {
    // Before the body is read, so that a request without a valid token costs little.
    let session = node_tokens::authenticate(&app, peer.ip(), bearer(request.headers())).await?;
    let heartbeat = body::json(request, HEARTBEAT_MAX_BYTES).await?;
    let session = node_tokens::authenticate_again(&app, session).await?;
    Ok(Json(heartbeats::receive(&app, &session, heartbeat).await?))
}
