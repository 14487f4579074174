//! `/baseos/v1/admin/nodes/{id}/commands`.

use crate::http::body::{self, ADMIN_MAX_BYTES, BodyError};
use crate::http::extract::{By, Shared};
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::commands;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use baseos_interfaces::admin::{CommandRecord, CreateCommand, Page};
use serde_json::{Value, json};

pub(super) async fn create(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
    request: Request,
) -> Answer<(StatusCode, Json<CommandRecord>)> {
    let request = read(request).await?;
    let command = commands::create(&app, &operator, &id, request).await?;
    Ok((StatusCode::CREATED, Json(command)))
}

/// Most commands have no parameters, so `params` may be left out.
async fn read(request: Request) -> Result<CreateCommand, BodyError> {
    let mut value: Value = body::json(request, ADMIN_MAX_BYTES).await?;
    if let Some(object) = value.as_object_mut() {
        object.entry("params").or_insert_with(|| json!({}));
    }
    serde_json::from_value(value).map_err(|_| BodyError::NotACommand)
}

pub(super) async fn list(
    State(app): Shared,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<CommandRecord>>> {
    Ok(Json(commands::list(&app, &id, &paging.into()).await?))
}
