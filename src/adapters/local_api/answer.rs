//! HTTP answers: JSON, or problem+json for errors.

use crate::lifecycle::effect::LocalAnswer;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use baseos_interfaces::codes::{FieldCode, ProblemCode};
use baseos_interfaces::problem::{FieldError, PROBLEM_JSON, Problem};

/// An error answer. [`finish`] writes its body, because it has the request's id.
#[derive(Clone)]
pub(super) struct Refusal(Box<Problem>);

impl Refusal {
    /// The problem's code, for the log.
    pub(super) fn code(&self) -> &ProblemCode {
        &self.0.code
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The machine's answer as a response.
pub(super) fn from_machine(answer: LocalAnswer) -> Response {
    match answer {
        LocalAnswer::Handshake(body) => Json(body).into_response(),
        LocalAnswer::Status(body) => Json(body).into_response(),
        LocalAnswer::Update(body) => Json(body).into_response(),
        LocalAnswer::Lock(body) => Json(body).into_response(),
        LocalAnswer::Locks(body) => Json(body).into_response(),
        LocalAnswer::Doctor(body) => Json(body).into_response(),
        LocalAnswer::Unlocked => StatusCode::NO_CONTENT.into_response(),
        LocalAnswer::Joining(body) => (StatusCode::ACCEPTED, Json(body)).into_response(),
        LocalAnswer::Problem(problem) => Refusal::from(problem).into_response(),
    }
}

/// Adds the request's id to the response and writes the body of a refusal.
pub(super) fn finish(mut response: Response, request_id: &str) -> Response {
    if let Some(Refusal(mut problem)) = response.extensions_mut().remove::<Refusal>() {
        problem.request_id = Some(request_id.to_owned());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.remove(header::CONTENT_LENGTH);
        if let Some(seconds) = problem.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Only a map whose keys are not strings could fail, and a problem has none.
        *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    // Answers are not for caches.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 422 for these members. `detail` says what is valid and never repeats what was sent.
pub(super) fn invalid(detail: impl Into<String>, errors: Vec<FieldError>) -> Refusal {
    let mut problem =
        Problem::new(422, ProblemCode::InvalidRequest, "The request is not understood.").detail(detail);
    problem.errors = errors;
    problem.into()
}

/// One wrong member.
pub(super) fn field(pointer: impl Into<String>, code: FieldCode) -> FieldError {
    FieldError::new(pointer, code)
}
