//! How Cloudly is asked: routes, what every request and answer has in common, and the two endpoints for nodes.

mod admin;
mod body;
mod envelope;

use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::service::{heartbeat, register};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use baseos_interfaces::heartbeat::{Heartbeat, HeartbeatAnswer};
use baseos_interfaces::limits::{HEARTBEAT_MAX_BYTES, HEARTBEAT_PATH, REGISTER_MAX_BYTES, REGISTER_PATH};
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::register::RegisterRequest;
use std::net::SocketAddr;
use std::sync::Arc;

type Shared = State<Arc<App>>;
type Peer = ConnectInfo<SocketAddr>;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(REGISTER_PATH, post(register_node))
        .route(HEARTBEAT_PATH, post(node_heartbeat))
        .route("/healthz", get(healthz))
        .nest("/baseos/v1/admin", admin::router(&app))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            envelope::envelope,
        ))
        .with_state(app)
}

async fn register_node(State(app): Shared, ConnectInfo(peer): Peer, request: Request) -> Answer<Response> {
    let request: RegisterRequest = body::json(request, REGISTER_MAX_BYTES).await?;
    let (repeated, answer) = register::register(&app, peer.ip(), &request).await?;
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(answer)).into_response())
}

async fn node_heartbeat(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    request: Request,
) -> Answer<Json<HeartbeatAnswer>> {
    let bearer = heartbeat::authenticate(&app, peer.ip(), bearer(request.headers())).await?;
    let beat: Heartbeat = body::json(request, HEARTBEAT_MAX_BYTES).await?;
    heartbeat::beat(&app, &bearer, beat).await.map(Json)
}

async fn healthz(State(app): Shared) -> Answer<Json<serde_json::Value>> {
    drop(app.storage.read().await?);
    Ok(Json(
        serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
    ))
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("there is nothing at this path")
}

async fn no_such_method() -> ApiError {
    Problem::new(
        405,
        code::METHOD_NOT_ALLOWED,
        "this path is not used with this method",
    )
    .into()
}

/// The token of an `Authorization: Bearer …` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
