//! What can go wrong with a request, as the problem that answers it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use baseos_interfaces::problem::{FieldError, Problem, code};

/// A problem on its way to the client. The outermost layer adds the request's id and the time and writes it.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(pub(crate) Box<Problem>);

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, ApiError>;

impl ApiError {
    /// The request is not what it should be.
    pub(crate) fn invalid(title: impl Into<String>) -> Self {
        Problem::new(422, code::INVALID_REQUEST, title).into()
    }

    /// One member of the request is not what it should be.
    pub(crate) fn member(pointer: impl Into<String>, what: &str, title: impl Into<String>) -> Self {
        let mut problem = Problem::new(422, code::INVALID_REQUEST, title);
        problem.errors.push(FieldError {
            pointer: pointer.into(),
            code: what.to_owned(),
        });
        problem.into()
    }

    pub(crate) fn not_found(title: impl Into<String>) -> Self {
        Problem::new(404, code::NOT_FOUND, title).into()
    }

    pub(crate) fn conflict(title: impl Into<String>) -> Self {
        Problem::new(409, code::CONFLICT, title).into()
    }

    pub(crate) fn rate_limited(seconds: u32) -> Self {
        Problem::new(429, code::RATE_LIMITED, "too many requests")
            .retry_after(Some(seconds))
            .into()
    }

    pub(crate) fn node_token() -> Self {
        Problem::new(401, code::NODE_TOKEN_INVALID, "the node token is not accepted").into()
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the database did not do it");
        Problem::new(503, code::UNAVAILABLE, "the database is not available")
            .retry_after(Some(15))
            .into()
    }
}

impl From<crate::random::NoRandomness> for ApiError {
    fn from(error: crate::random::NoRandomness) -> Self {
        tracing::error!(%error, "no token could be made");
        Problem::new(503, code::UNAVAILABLE, "no token can be made")
            .retry_after(Some(15))
            .into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
