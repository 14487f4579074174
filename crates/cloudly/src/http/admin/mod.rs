//! The admin API: `/baseos/v1/admin/…`.

mod audit;
mod commands;
mod events;
mod join_tokens;
mod nodes;
mod refused_nodes;
mod releases;
mod targets;

use crate::http::extract::{Peer, Shared, bearer};
use crate::http::problem::Answer;
use crate::service::app::App;
use crate::service::operators;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use std::sync::Arc;

pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/join-tokens", post(join_tokens::create).get(join_tokens::list))
        .route("/join-tokens/{id}", delete(join_tokens::revoke))
        .route("/releases", post(releases::create).get(releases::list))
        .route("/desired", put(targets::set_for_all).get(targets::show_for_all))
        .route("/nodes", get(nodes::list))
        .route("/refused-nodes", get(refused_nodes::list))
        .route("/nodes/{id}", get(nodes::show))
        .route(
            "/nodes/{id}/desired",
            put(targets::set).get(targets::show).delete(targets::unset),
        )
        .route("/nodes/{id}/approve", post(nodes::approve))
        .route("/nodes/{id}/suspend", post(nodes::suspend))
        .route("/nodes/{id}/restore", post(nodes::restore))
        .route("/nodes/{id}/remove", post(nodes::remove))
        .route("/nodes/{id}/clear-clone", post(nodes::clear_clone))
        .route("/nodes/{id}/commands", post(commands::create).get(commands::list))
        .route("/nodes/{id}/events", get(events::list))
        .route("/audit", get(audit::list))
        .layer(middleware::from_fn_with_state(Arc::clone(app), authenticate))
}

async fn authenticate(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let operator = operators::authenticate(&app, peer.ip(), bearer(request.headers()))?;
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}
