//! Errors as RFC 9457 problems. The only place that makes them.

use super::body::BodyError;
use crate::service::error::Error;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use baseos_interfaces::problem::{FieldError, Problem, code};

/// When to try again after a failure of the database or of the random number generator.
const UNAVAILABLE_SECONDS: u32 = 15;

/// A problem on its way to the envelope, which adds the request's id and the time and writes the body.
#[derive(Clone, Debug)]
pub(super) struct Failure(Box<Problem>);

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Failure>;

impl Failure {
    pub(super) fn into_problem(self) -> Problem {
        *self.0
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let title = error.to_string();
        let problem = match error {
            Error::NotFound { .. } => Problem::new(404, code::NOT_FOUND, title),
            Error::Conflict(_) => Problem::new(409, code::CONFLICT, title),
            Error::Invalid { fields, .. } => {
                let fields = fields
                    .into_iter()
                    .map(|field| field_error(field.pointer, field.code));
                Problem {
                    errors: fields.collect(),
                    ..Problem::new(422, code::INVALID_REQUEST, title)
                }
            }
            Error::RateLimited { retry_after_seconds } => {
                Problem::new(429, code::RATE_LIMITED, title).retry_after(Some(retry_after_seconds))
            }
            Error::AdminTokenInvalid => Problem::new(401, code::ADMIN_TOKEN_INVALID, title),
            Error::JoinTokenInvalid => Problem::new(401, code::JOIN_TOKEN_INVALID, title),
            Error::NodeTokenInvalid => Problem::new(401, code::NODE_TOKEN_INVALID, title),
            Error::NodeSuspended {
                next_heartbeat_seconds,
            } => Problem {
                next_heartbeat_seconds: Some(next_heartbeat_seconds),
                ..Problem::new(403, code::NODE_SUSPENDED, title)
            },
            Error::NodeRemoved {
                next_heartbeat_seconds,
            } => Problem {
                next_heartbeat_seconds: Some(next_heartbeat_seconds),
                ..Problem::new(410, code::NODE_REMOVED, title)
            },
            Error::ProtocolTooOld(_) => Problem::new(426, code::PROTOCOL_TOO_OLD, title),
            Error::Storage(error) => {
                tracing::error!(%error, "a database operation failed");
                unavailable(title)
            }
            Error::Randomness(error) => {
                tracing::error!(%error, "no token could be made");
                unavailable(title)
            }
        };
        problem.into()
    }
}

fn unavailable(title: String) -> Problem {
    Problem::new(503, code::UNAVAILABLE, title).retry_after(Some(UNAVAILABLE_SECONDS))
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let title = error.to_string();
        let problem = match error {
            BodyError::NotJson => Problem::new(415, code::UNSUPPORTED_MEDIA_TYPE, title),
            BodyError::TimedOut => Problem::new(408, code::INVALID_REQUEST, title).retry_after(None),
            BodyError::TooLarge { .. } => Problem::new(413, code::PAYLOAD_TOO_LARGE, title),
            BodyError::CutOff | BodyError::Syntax { .. } | BodyError::NotACommand => {
                Problem::new(422, code::INVALID_REQUEST, title)
            }
            BodyError::Member { pointer, code, .. } => Problem {
                errors: vec![field_error(pointer, code)],
                ..Problem::new(422, code::INVALID_REQUEST, title)
            },
        };
        problem.into()
    }
}

fn field_error(pointer: String, code: &str) -> FieldError {
    FieldError {
        pointer,
        code: code.to_owned(),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn no_such_path() -> Failure {
    Problem::new(404, code::NOT_FOUND, "there is nothing at this path").into()
}

pub(super) async fn no_such_method() -> Failure {
    let title = "this path is not used with this method";
    Problem::new(405, code::METHOD_NOT_ALLOWED, title).into()
}

/// Of an answer with which the framework refused a request before any handler ran.
pub(super) fn refused_by_framework(status: StatusCode) -> Problem {
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
