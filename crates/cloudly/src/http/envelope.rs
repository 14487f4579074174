//! What every request and every answer has: an id, a line in the log, and problem+json for everything that failed,
//! also where the framework refused before any handler ran.

use crate::app::App;
use crate::error::ApiError;
use crate::random;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use baseos_interfaces::problem::{PROBLEM_JSON, Problem, code};
use std::sync::Arc;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
pub(super) async fn envelope(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = app.clock.now();
    // An id is a convenience: without randomness the time has to do.
    let id = random::id("req_", began).unwrap_or_else(|_| format!("req_{}", began.as_millisecond()));
    // The route, not the path: whatever somebody puts into a URL stays out of the log.
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
        let took = app.clock.now().duration_since(began).as_millis();
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
    let mut problem = match response.extensions_mut().remove::<ApiError>() {
        Some(ApiError(problem)) => *problem,
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

fn refused_by_framework(status: StatusCode) -> Problem {
    let code = match status.as_u16() {
        404 => code::NOT_FOUND,
        405 => code::METHOD_NOT_ALLOWED,
        413 => code::PAYLOAD_TOO_LARGE,
        415 => code::UNSUPPORTED_MEDIA_TYPE,
        500.. => code::INTERNAL,
        _ => code::INVALID_REQUEST,
    };
    let title = status
        .canonical_reason()
        .unwrap_or("the request was not accepted")
        .to_lowercase();
    Problem::new(status.as_u16(), code, title)
}

/// The trace id of a W3C `traceparent` header, for the log.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let id = value.split('-').nth(1)?;
    let good = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    good.then(|| id.to_owned())
}
