//! `/baseos/v1/admin/desired` and `/baseos/v1/admin/nodes/{id}/desired`.

use crate::http::body::{self, ADMIN_MAX_BYTES, BodyError};
use crate::http::extract::{By, Shared};
use crate::http::problem::Answer;
use crate::service::targets;
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use baseos_interfaces::admin::{DesiredRecord, DesiredSet, SetDesired};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::members;
use serde_json::Value;

pub(super) async fn set_for_all(
    State(app): Shared,
    Extension(operator): By,
    request: Request,
) -> Answer<Json<DesiredSet>> {
    let request = read(request).await?;
    Ok(Json(targets::set(&app, &operator, None, request).await?))
}

pub(super) async fn set(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<DesiredSet>> {
    let request = read(request).await?;
    Ok(Json(targets::set(&app, &operator, Some(&id), request).await?))
}

/// `commit` must be there, even if it is `null`: a forgotten member must not withdraw a release from a fleet.
async fn read(request: Request) -> Result<SetDesired, BodyError> {
    let bytes = body::bytes(request, ADMIN_MAX_BYTES).await?;
    let value: Value = body::parse(&bytes)?;
    if value
        .as_object()
        .is_some_and(|object| !object.contains_key("commit"))
    {
        return Err(BodyError::Member {
            pointer: "/commit".to_owned(),
            code: FieldCode::Missing,
            message: "`/commit` is missing: a commit, or null for nothing".to_owned(),
        });
    }
    body::check_members(members::SET_DESIRED, &value)?;
    body::parse(&bytes)
}

pub(super) async fn show_for_all(State(app): Shared) -> Answer<Json<DesiredRecord>> {
    Ok(Json(targets::show(&app, None).await?))
}

pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Answer<Json<DesiredRecord>> {
    Ok(Json(targets::show(&app, Some(&id)).await?))
}

pub(super) async fn unset(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
) -> Answer<Json<DesiredSet>> {
    Ok(Json(targets::unset(&app, &operator, &id).await?))
}
