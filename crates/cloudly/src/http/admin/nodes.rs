//! `/baseos/v1/admin/nodes`.

use crate::http::extract::{By, Shared};
use crate::http::paging::Paging;
use crate::http::problem::Answer;
use crate::service::nodes::{self, Decision};
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use baseos_interfaces::admin::{NodeRecord, Page};

pub(super) async fn list(State(app): Shared, Query(paging): Query<Paging>) -> Answer<Json<Page<NodeRecord>>> {
    Ok(Json(nodes::list(&app, &paging.into()).await?))
}

pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Answer<Json<NodeRecord>> {
    Ok(Json(nodes::show(&app, &id).await?))
}

pub(super) async fn approve(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Approve).await
}

pub(super) async fn suspend(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Suspend).await
}

pub(super) async fn restore(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Restore).await
}

pub(super) async fn remove(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Remove).await
}

pub(super) async fn clear_clone(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::ClearClone).await
}

async fn decide(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
    decision: Decision,
) -> Answer<Json<NodeRecord>> {
    Ok(Json(nodes::decide(&app, &operator, &id, decision).await?))
}
