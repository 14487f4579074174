//! What handlers take from a request.

use crate::auth::operators::Operator;
use crate::service::app::App;
use axum::Extension;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) type Shared = State<Arc<App>>;
pub(super) type Peer = ConnectInfo<SocketAddr>;
/// Of an admin request, once its token was verified.
pub(super) type By = Extension<Operator>;

/// The token of an `Authorization: Bearer …` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
