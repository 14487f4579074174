//! `/baseos/v1/admin/join-tokens`.

use crate::http::body::{self, ADMIN_MAX_BYTES};
use crate::http::extract::{By, Shared};
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::join_tokens;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use baseos_interfaces::admin::{CreatedJoinToken, JoinTokenRecord, Page};

pub(super) async fn create(
    State(app): Shared,
    Extension(operator): By,
    request: Request,
) -> Answer<(StatusCode, Json<CreatedJoinToken>)> {
    let request = body::json(request, ADMIN_MAX_BYTES).await?;
    let created = join_tokens::create(&app, &operator, request).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(super) async fn list(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<JoinTokenRecord>>> {
    Ok(Json(join_tokens::list(&app, &paging.into()).await?))
}

pub(super) async fn revoke(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    join_tokens::revoke(&app, &operator, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
