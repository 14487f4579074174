//! `/baseos/v1/admin/audit`.

use crate::http::extract::Shared;
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::audit;
use axum::Json;
use axum::extract::{Query, State};
use baseos_interfaces::admin::{AuditRecord, Page};

pub(super) async fn list(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<AuditRecord>>> {
    Ok(Json(audit::list(&app, &paging.into()).await?))
}
