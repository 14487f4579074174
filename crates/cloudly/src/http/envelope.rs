//! What every request has: an id, a log line, and problem+json as the answer to everything that failed, also where the
//! framework refused before any handler ran.

use super::extract::Shared;
use super::problem::{Failure, refused_by_framework};
use crate::random;
use crate::service::app::App;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use baseos_interfaces::problem::PROBLEM_JSON;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
pub(super) async fn envelope(State(app): Shared, request: Request, next: Next) -> Response {
    let began = app.clock.now();
    // The id only has to tell requests apart in the log, so without randomness the time is enough.
    let id = random::id("req_", began).unwrap_or_else(|_| format!("req_{}", began.as_millisecond()));
    // The route, not the path: a URL may hold a token.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let trace = trace_id(request.headers()).unwrap_or_default();
    let span = tracing::info_span!("request", id, %method, route, trace);
    async {
        let mut response = next.run(request).await;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            response = as_problem(&app, &id, response);
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let took = app.clock.now().duration_since(began);
        app.metrics
            .request(&route, status.as_u16(), took.try_into().unwrap_or_default());
        let took = took.as_millis();
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), took, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), took, "answered");
        }
        response
    }
    .instrument(span)
    .await
}

fn as_problem(app: &App, id: &str, mut response: Response) -> Response {
    let mut problem = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure.into_problem(),
        None => refused_by_framework(response.status()),
    };
    problem.request_id = Some(id.to_owned());
    problem.server_time = Some(app.clock.now());
    if let Some(seconds) = problem.retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == 401 {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.headers_mut().remove(CONTENT_LENGTH);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    // A problem consists of strings, numbers and a time; serde_json cannot fail on those.
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
    response
}

/// The trace id of a W3C `traceparent` header, for the log.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let id = value.split('-').nth(1)?;
    let valid = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    valid.then(|| id.to_owned())
}
