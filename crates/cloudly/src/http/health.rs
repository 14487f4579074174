//! `GET /healthz` and `GET /readyz`, for probes; neither needs a token.

use super::extract::Shared;
use super::problem::Answer;
use crate::service::health;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// This process answers. Whether its database does is another question: a restart would not heal that.
pub(super) async fn healthz() -> Json<Value> {
    ok()
}

/// This server can do its work.
pub(super) async fn readyz(State(app): Shared) -> Answer<Json<Value>> {
    health::check(&app).await?;
    Ok(ok())
}

fn ok() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
