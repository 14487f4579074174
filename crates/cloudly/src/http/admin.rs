//! The admin API: `/baseos/v1/admin/…`.

use super::{Peer, Shared, bearer, body};
use crate::app::{App, Operator};
use crate::error::{Answer, ApiError};
use crate::service::operate::{self, Decision};
use crate::storage::{self, join_tokens, nodes, operations, reports};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use baseos_interfaces::admin::{
    AuditRecord, CommandRecord, CreateCommand, CreateJoinToken, DesiredRecord, DesiredSet, EventRecord,
    JoinTokenRecord, NodeRecord, Page, ReleaseRecord, SetDesired,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Largest body of an admin request, bytes: a release must fit into an answer to a node.
const MAX_BYTES: usize = 256 * 1024;
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1000;

type By = Extension<Operator>;

pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/join-tokens", post(create_join_token).get(list_join_tokens))
        .route("/join-tokens/{id}", delete(revoke_join_token))
        .route("/releases", post(create_release).get(list_releases))
        .route("/desired", put(set_desired_of_all).get(desired_of_all))
        .route("/nodes", get(list_nodes))
        .route("/nodes/{id}", get(show_node))
        .route(
            "/nodes/{id}/desired",
            put(set_desired).get(desired).delete(unset_desired),
        )
        .route("/nodes/{id}/approve", post(approve))
        .route("/nodes/{id}/suspend", post(suspend))
        .route("/nodes/{id}/restore", post(restore))
        .route("/nodes/{id}/remove", post(remove))
        .route("/nodes/{id}/clear-clone", post(clear_clone))
        .route("/nodes/{id}/commands", post(create_command).get(list_commands))
        .route("/nodes/{id}/events", get(list_events))
        .route("/audit", get(list_audit))
        .layer(middleware::from_fn_with_state(Arc::clone(app), authorize))
}

async fn authorize(
    State(app): Shared,
    ConnectInfo(peer): Peer,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let operator = app.operator(peer.ip(), bearer(request.headers()))?;
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

/// Where a page begins and how long it is.
#[derive(Debug, Deserialize)]
struct Paging {
    cursor: Option<String>,
    limit: Option<u32>,
}

impl Paging {
    /// One more row than the page has, to know whether another page follows.
    fn fetch(&self) -> i64 {
        i64::from(self.size()) + 1
    }

    fn size(&self) -> u32 {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// For lists by rising id.
    fn after(&self) -> &str {
        self.cursor.as_deref().unwrap_or("")
    }

    /// For lists by falling number.
    fn before(&self) -> Answer<i64> {
        let Some(cursor) = &self.cursor else {
            return Ok(i64::MAX);
        };
        cursor
            .parse()
            .map_err(|_| ApiError::invalid("the cursor is not one this list gave"))
    }

    fn page<T>(&self, mut rows: Vec<T>, cursor: impl Fn(&T) -> String) -> Page<T> {
        let size = self.size() as usize;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(cursor);
        Page { items: rows, next }
    }
}

async fn create_join_token(
    State(app): Shared,
    Extension(by): By,
    request: Request,
) -> Answer<impl IntoResponse> {
    let wish: CreateJoinToken = body::json(request, MAX_BYTES).await?;
    Ok((
        StatusCode::CREATED,
        Json(operate::create_join_token(&app, &by, wish).await?),
    ))
}

async fn list_join_tokens(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<JoinTokenRecord>>> {
    // So that the list shows what a registration would find.
    let mut tx = app.storage.write().await?;
    join_tokens::give_back(&mut tx, app.clock.now()).await?;
    let rows = join_tokens::list(&mut tx, paging.after(), paging.fetch()).await?;
    tx.commit().await?;
    let rows = rows.into_iter().map(join_tokens::JoinToken::record).collect();
    Ok(Json(paging.page(rows, |row| row.id.clone())))
}

async fn revoke_join_token(
    State(app): Shared,
    Extension(by): By,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    operate::revoke_join_token(&app, &by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn create_release(
    State(app): Shared,
    Extension(by): By,
    request: Request,
) -> Answer<impl IntoResponse> {
    let wish = body::json(request, MAX_BYTES).await?;
    let (new, record) = operate::create_release(&app, &by, wish).await?;
    Ok((
        if new { StatusCode::CREATED } else { StatusCode::OK },
        Json(record),
    ))
}

async fn list_releases(
    State(app): Shared,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<ReleaseRecord>>> {
    let mut connection = app.storage.read().await?;
    let rows = storage::desired::releases(&mut connection, paging.before()?, paging.fetch()).await?;
    Ok(Json(without_place(paging.page(rows, |row| row.0.to_string()))))
}

fn without_place<T>(page: Page<(i64, T)>) -> Page<T> {
    Page {
        items: page.items.into_iter().map(|(_, row)| row).collect(),
        next: page.next,
    }
}

async fn set_desired_of_all(
    State(app): Shared,
    Extension(by): By,
    request: Request,
) -> Answer<Json<DesiredSet>> {
    let wish = desired_wish(request).await?;
    operate::set_desired(&app, &by, None, wish).await.map(Json)
}

async fn set_desired(
    State(app): Shared,
    Extension(by): By,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<DesiredSet>> {
    let wish = desired_wish(request).await?;
    operate::set_desired(&app, &by, Some(&id), wish).await.map(Json)
}

/// `commit` must be said, even if it is `null`: a forgotten member must not withdraw a release from a fleet.
async fn desired_wish(request: Request) -> Answer<SetDesired> {
    let bytes = body::bytes(request, MAX_BYTES).await?;
    let value: Value = body::parse(&bytes)?;
    if value
        .as_object()
        .is_some_and(|object| !object.contains_key("commit"))
    {
        let title = "`/commit` is missing: a commit, or null for nothing";
        return Err(ApiError::member("/commit", "missing", title));
    }
    body::parse(&bytes)
}

async fn desired_of_all(State(app): Shared) -> Answer<Json<DesiredRecord>> {
    operate::desired(&app, None).await.map(Json)
}

async fn desired(State(app): Shared, Path(id): Path<String>) -> Answer<Json<DesiredRecord>> {
    operate::desired(&app, Some(&id)).await.map(Json)
}

async fn unset_desired(
    State(app): Shared,
    Extension(by): By,
    Path(id): Path<String>,
) -> Answer<Json<DesiredSet>> {
    operate::unset_desired(&app, &by, &id).await.map(Json)
}

async fn list_nodes(State(app): Shared, Query(paging): Query<Paging>) -> Answer<Json<Page<NodeRecord>>> {
    let mut connection = app.storage.read().await?;
    let rows = nodes::list(&mut connection, paging.after(), paging.fetch()).await?;
    let mut records = Vec::with_capacity(rows.len());
    for node in rows {
        records.push(operate::record(&app, &mut connection, node).await?);
    }
    Ok(Json(paging.page(records, |row| row.id.clone())))
}

async fn show_node(State(app): Shared, Path(id): Path<String>) -> Answer<Json<NodeRecord>> {
    let mut connection = app.storage.read().await?;
    let node = operate::find(&mut connection, &id).await?;
    operate::record(&app, &mut connection, node).await.map(Json)
}

async fn approve(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Approve).await
}

async fn suspend(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Suspend).await
}

async fn restore(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Restore).await
}

async fn remove(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::Remove).await
}

async fn clear_clone(app: Shared, by: By, id: Path<String>) -> Answer<Json<NodeRecord>> {
    decide(app, by, id, Decision::ClearClone).await
}

async fn decide(
    State(app): Shared,
    Extension(by): By,
    Path(id): Path<String>,
    decision: Decision,
) -> Answer<Json<NodeRecord>> {
    operate::decide(&app, &by, &id, decision).await.map(Json)
}

async fn create_command(
    State(app): Shared,
    Extension(by): By,
    Path(id): Path<String>,
    request: Request,
) -> Answer<impl IntoResponse> {
    let mut wish: Value = body::json(request, MAX_BYTES).await?;
    // Most commands have no parameters; leaving them out is not an error.
    if let Some(object) = wish.as_object_mut() {
        object.entry("params").or_insert_with(|| serde_json::json!({}));
    }
    let wish: CreateCommand = serde_json::from_value(wish)
        .map_err(|_| ApiError::invalid("this is not a command: `type` is missing"))?;
    let command: CommandRecord = operate::command(&app, &by, &id, wish).await?;
    Ok((StatusCode::CREATED, Json(command)))
}

async fn list_commands(
    State(app): Shared,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<CommandRecord>>> {
    let mut connection = app.storage.read().await?;
    operate::find(&mut connection, &id).await?;
    let rows = operations::commands(&mut connection, &id, paging.before()?, paging.fetch()).await?;
    Ok(Json(without_place(paging.page(rows, |row| row.0.to_string()))))
}

async fn list_events(
    State(app): Shared,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer<Json<Page<EventRecord>>> {
    let mut connection = app.storage.read().await?;
    operate::find(&mut connection, &id).await?;
    let rows = reports::events(&mut connection, &id, paging.before()?, paging.fetch()).await?;
    Ok(Json(paging.page(rows, |row| row.sequence.to_string())))
}

async fn list_audit(State(app): Shared, Query(paging): Query<Paging>) -> Answer<Json<Page<AuditRecord>>> {
    let mut connection = app.storage.read().await?;
    let rows = operations::audit_log(&mut connection, paging.before()?, paging.fetch()).await?;
    Ok(Json(paging.page(rows, |row| row.sequence.to_string())))
}
