//! `GET /healthz`, for probes; needs no token.

use super::extract::Shared;
use super::problem::Answer;
use crate::service::health;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub(super) async fn healthz(State(app): Shared) -> Answer<Json<Value>> {
    health::check(&app).await?;
    Ok(Json(
        json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
    ))
}
