//! `/baseos/v1/admin/nodes/{id}/events`.

use crate::http::extract::Shared;
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::events;
use axum::Json;
use axum::extract::{Path, Query, State};
use baseos_interfaces::admin::{EventRecord, Page};

pub(super) async fn list(
    State(app): Shared,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<EventRecord>>> {
    Ok(Json(events::list(&app, &id, &paging.into()).await?))
}
