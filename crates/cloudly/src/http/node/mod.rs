//! The two endpoints for nodes.

mod heartbeat;
mod register;

use crate::service::app::App;
use axum::Router;
use axum::routing::post;
use baseos_interfaces::limits::{HEARTBEAT_PATH, REGISTER_PATH};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(REGISTER_PATH, post(register::register))
        .route(HEARTBEAT_PATH, post(heartbeat::heartbeat))
}
