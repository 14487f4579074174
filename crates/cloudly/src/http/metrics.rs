//! `GET /metrics`, for Prometheus, with the admin token.

use super::extract::{Peer, Shared, bearer};
use super::problem::Answer;
use crate::service::{metrics, operators};
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    operators::authenticate(&app, peer.ip(), bearer(&headers))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], metrics::text(&app)))
}
