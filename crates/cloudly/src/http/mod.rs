//! The HTTP API. Handlers read the request, call a service and write its answer; they never open the database.

pub(crate) mod accept;
mod admin;
mod body;
mod envelope;
mod extract;
mod forwarded;
mod health;
mod metrics;
mod node;
mod paging;
mod panics;
mod problem;

use crate::service::app::App;
use axum::routing::get;
use axum::{Router, middleware};
use forwarded::Proxies;
use std::sync::Arc;

pub(crate) fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .merge(node::router())
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .nest("/baseos/v1/admin", admin::router(&app))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(panics::layer(&app.metrics))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            envelope::envelope,
        ));
    let routes = if app.settings.trusted_proxies.is_empty() {
        routes
    } else {
        let proxies = Proxies::new(app.settings.trusted_proxies.clone(), app.clock.clone());
        routes.layer(middleware::from_fn_with_state(proxies, forwarded::note_client))
    };
    routes.with_state(app)
}
