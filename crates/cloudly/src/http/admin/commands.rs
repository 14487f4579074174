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
use baseos_interfaces::command::CommandAction;
use serde::Deserialize;
use serde_json::{Map, Value, json};

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

/// The members apart, since an error in a flattened type does not say where it is. Most commands have no parameters, so
/// `params` may be left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    ttl_seconds: Option<u32>,
}

async fn read(request: Request) -> Result<CreateCommand, BodyError> {
    let sent: Sent = body::json(request, ADMIN_MAX_BYTES).await?;
    let action = json!({ "type": sent.kind, "params": sent.params });
    Ok(CreateCommand {
        action: serde_json::from_value(action.clone()).unwrap_or(CommandAction::Unknown(action)),
        ttl_seconds: sent.ttl_seconds,
    })
}

pub(super) async fn list(
    State(app): Shared,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<CommandRecord>>> {
    Ok(Json(commands::list(&app, &id, &paging.into()).await?))
}
