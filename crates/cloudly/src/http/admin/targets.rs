//! `/baseos/v1/admin/desired` and `/baseos/v1/admin/nodes/{id}/desired`.

use crate::http::body::{self, ADMIN_MAX_BYTES, BodyError};
use crate::http::extract::{By, Shared};
use crate::http::problem::Answer;
use crate::service::targets::{self, Seen};
use axum::extract::{Path, Request, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderName};
use axum::{Extension, Json};
use baseos_interfaces::admin::{DesiredRecord, DesiredSet, SetDesired};
use baseos_interfaces::codes::{FieldCode, ProblemCode};
use baseos_interfaces::members;
use baseos_interfaces::problem::Problem;
use serde_json::Value;

/// With its revision as the entity tag, which `If-Match` takes.
type Tagged<T> = ([(HeaderName, String); 1], Json<T>);

fn tagged<T>(revision: u64, body: T) -> Tagged<T> {
    ([(ETAG, format!("\"{revision}\""))], Json(body))
}

pub(super) async fn set_for_all(
    State(app): Shared,
    Extension(operator): By,
    request: Request,
) -> Answer<Tagged<DesiredSet>> {
    let seen = seen(request.headers())?;
    let request = read(request).await?;
    let set = targets::set(&app, &operator, None, request, &seen).await?;
    Ok(tagged(set.revision, set))
}

pub(super) async fn set(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Tagged<DesiredSet>> {
    let seen = seen(request.headers())?;
    let request = read(request).await?;
    let set = targets::set(&app, &operator, Some(&id), request, &seen).await?;
    Ok(tagged(set.revision, set))
}

/// The revision that `If-Match` names. Without that header the request is for whatever is there.
fn seen(headers: &HeaderMap) -> Answer<Seen> {
    let mut revisions = Vec::new();
    for value in headers.get_all(IF_MATCH) {
        for tag in value.to_str().unwrap_or_default().split(',') {
            let tag = tag.trim();
            if tag == "*" {
                return Ok(Seen::Any);
            }
            // A proxy that compresses answers makes their tags weak.
            let revision = tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .and_then(|digits| digits.parse().ok());
            revisions.push(revision.ok_or_else(|| {
                let title = "If-Match takes a revision in quotes, as ETag has it, e.g. \"43\"; or *";
                Problem::new(422, ProblemCode::InvalidRequest, title)
            })?);
        }
    }
    Ok(if revisions.is_empty() {
        Seen::Any
    } else {
        Seen::OneOf(revisions)
    })
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

pub(super) async fn show_for_all(State(app): Shared) -> Answer<Tagged<DesiredRecord>> {
    let record = targets::show(&app, None).await?;
    Ok(tagged(record.revision, record))
}

pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Answer<Tagged<DesiredRecord>> {
    let record = targets::show(&app, Some(&id)).await?;
    Ok(tagged(record.revision, record))
}

pub(super) async fn unset(
    State(app): Shared,
    Extension(operator): By,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Tagged<DesiredSet>> {
    let seen = seen(&headers)?;
    let set = targets::unset(&app, &operator, &id, &seen).await?;
    Ok(tagged(set.revision, set))
}
