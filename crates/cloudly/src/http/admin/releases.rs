//! `/baseos/v1/admin/releases`.

use crate::http::body::{self, ADMIN_MAX_BYTES};
use crate::http::extract::{By, Shared};
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::releases::{self, Created};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use baseos_interfaces::admin::{Page, ReleaseRecord};
use baseos_interfaces::members;

pub(super) async fn create(
    State(app): Shared,
    Extension(operator): By,
    request: Request,
) -> Answer<(StatusCode, Json<ReleaseRecord>)> {
    let bytes = body::bytes(request, ADMIN_MAX_BYTES).await?;
    body::check_members(members::CREATE_RELEASE, &body::parse(&bytes)?)?;
    let request = body::parse(&bytes)?;
    let (created, record) = releases::create(&app, &operator, request).await?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Known => StatusCode::OK,
    };
    Ok((status, Json(record)))
}

pub(super) async fn list(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<ReleaseRecord>>> {
    Ok(Json(releases::list(&app, &paging.into()).await?))
}
