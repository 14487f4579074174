//! Errors as RFC 9457 problems. The only place that makes them.

use super::body::BodyError;
use crate::random;
use crate::service::error::Error;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::problem::{FieldError, Problem};

/// When to try again after a failure of the database or of the random number generator.
const UNAVAILABLE_SECONDS: u32 = 15;
/// The same when more requests come than can be written.
const OVERLOADED_SECONDS: u32 = 60;

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
            Error::NotFound { .. } => Problem::new(404, ProblemCode::NotFound, title),
            Error::Conflict(_) => Problem::new(409, ProblemCode::Conflict, title),
            Error::RevisionChanged { present, .. } => Problem {
                revision: Some(present),
                ..Problem::new(412, ProblemCode::RevisionChanged, title)
            }
            .detail(format!(
                "look at what was changed, and send this again for revision {present} if it still holds"
            )),
            Error::Invalid { fields, .. } => {
                let fields = fields
                    .into_iter()
                    .map(|field| FieldError::new(field.pointer, field.code));
                Problem {
                    errors: fields.collect(),
                    ..Problem::new(422, ProblemCode::InvalidRequest, title)
                }
            }
            Error::ReleaseRefused(violations) => Problem::from(&violations),
            Error::RateLimited { retry_after_seconds } => {
                Problem::new(429, ProblemCode::RateLimited, title).retry_after(Some(retry_after_seconds))
            }
            Error::AdminTokenInvalid => Problem::new(401, ProblemCode::AdminTokenInvalid, title),
            Error::JoinTokenInvalid => Problem::new(401, ProblemCode::JoinTokenInvalid, title),
            Error::NodeTokenInvalid => Problem::new(401, ProblemCode::NodeTokenInvalid, title),
            Error::NodeSuspended {
                next_heartbeat_seconds,
            } => Problem {
                next_heartbeat_seconds: Some(next_heartbeat_seconds),
                ..Problem::new(403, ProblemCode::NodeSuspended, title)
            },
            Error::NodeRemoved {
                next_heartbeat_seconds,
            } => Problem {
                next_heartbeat_seconds: Some(next_heartbeat_seconds),
                ..Problem::new(410, ProblemCode::NodeRemoved, title)
            },
            Error::ProtocolTooOld(_) => Problem::new(426, ProblemCode::ProtocolTooOld, title),
            Error::Damaged(error) => {
                tracing::error!(%error, "the database holds what this cloudly cannot read");
                Problem::new(500, ProblemCode::Internal, title)
            }
            Error::Overloaded => {
                tracing::warn!("too many requests wait to write");
                unavailable(title, OVERLOADED_SECONDS)
            }
            Error::Storage(error) => {
                tracing::error!(%error, "a database operation failed");
                unavailable(title, UNAVAILABLE_SECONDS)
            }
            Error::Unhealthy(error) => {
                tracing::error!(%error, "the health check failed");
                unavailable(title, UNAVAILABLE_SECONDS)
            }
            Error::Randomness(error) => {
                tracing::error!(%error, "no token could be made");
                unavailable(title, UNAVAILABLE_SECONDS)
            }
        };
        problem.into()
    }
}

/// Those who are told to come again come again at different times.
fn unavailable(title: String, seconds: u32) -> Problem {
    let retry_after = random::spread(seconds);
    Problem::new(503, ProblemCode::Unavailable, title).retry_after(Some(retry_after))
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let title = error.to_string();
        let problem = match error {
            BodyError::NotJson => Problem::new(415, ProblemCode::UnsupportedMediaType, title),
            BodyError::TimedOut => Problem::new(408, ProblemCode::InvalidRequest, title).retry_after(None),
            BodyError::TooLarge { .. } => Problem::new(413, ProblemCode::PayloadTooLarge, title),
            BodyError::CutOff | BodyError::Syntax { .. } => {
                Problem::new(422, ProblemCode::InvalidRequest, title)
            }
            BodyError::Member { pointer, code, .. } => Problem {
                errors: vec![FieldError::new(pointer, code)],
                ..Problem::new(422, ProblemCode::InvalidRequest, title)
            },
        };
        problem.into()
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
    Problem::new(404, ProblemCode::NotFound, "there is nothing at this path").into()
}

pub(super) async fn no_such_method() -> Failure {
    let title = "this path is not used with this method";
    Problem::new(405, ProblemCode::MethodNotAllowed, title).into()
}

/// Of an answer with which the framework refused a request before any handler ran.
pub(super) fn refused_by_framework(status: StatusCode) -> Problem {
    let code = match status.as_u16() {
        404 => ProblemCode::NotFound,
        405 => ProblemCode::MethodNotAllowed,
        413 => ProblemCode::PayloadTooLarge,
        415 => ProblemCode::UnsupportedMediaType,
        500.. => ProblemCode::Internal,
        _ => ProblemCode::InvalidRequest,
    };
    let title = status
        .canonical_reason()
        .unwrap_or("the request was not accepted")
        .to_lowercase();
    Problem::new(status.as_u16(), code, title)
}
