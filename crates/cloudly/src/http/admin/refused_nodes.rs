//! `/baseos/v1/admin/refused-nodes`.

use crate::http::extract::Shared;
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::node_tokens;
use axum::Json;
use axum::extract::{Query, State};
use baseos_interfaces::admin::{Page, RefusedNode};

pub(super) async fn list(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<RefusedNode>>> {
    Ok(Json(node_tokens::refused(&app, &paging.into())))
}
