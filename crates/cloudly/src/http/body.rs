//! JSON bodies: limited in size and time. Errors name the place and never repeat what was sent, which may be a token.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::members::Shape;
use baseos_interfaces::problem;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Largest body of an admin request, bytes. A release must fit into an answer to a node.
pub(super) const ADMIN_MAX_BYTES: usize = 256 * 1024;
/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// A body over the limit is read and dropped up to here, since a client that is still sending misses the answer.
const DRAIN_MAX_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body must be JSON, with `Content-Type: application/json`")]
    NotJson,
    #[error("the body did not arrive in time")]
    TimedOut,
    #[error("the body was cut off")]
    CutOff,
    #[error("the body has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body is not JSON, see line {line} column {column}")]
    Syntax { line: usize, column: usize },
    #[error("this is not a command: `type` is missing")]
    NotACommand,
    #[error("{message}")]
    Member {
        pointer: String,
        code: FieldCode,
        message: String,
    },
}

type Result<T> = std::result::Result<T, BodyError>;

pub(super) async fn json<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T> {
    let bytes = bytes(request, limit).await?;
    parse(&bytes)
}

/// The bytes of a body that is declared to be JSON.
pub(super) async fn bytes(request: Request, limit: usize) -> Result<Vec<u8>> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(BodyError::NotJson);
    }
    tokio::time::timeout(READ_TIMEOUT, collect(request.into_body(), limit))
        .await
        .unwrap_or(Err(BodyError::TimedOut))
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::CutOff)?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > DRAIN_MAX_BYTES {
            break;
        }
    }
    if length > limit {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(bytes)
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        if !inner.is_data() {
            return syntax(&inner);
        }
        let (code, reason) = reason(&inner.to_string());
        let place = if pointer.is_empty() {
            "the body".to_owned()
        } else {
            format!("`{pointer}`")
        };
        BodyError::Member {
            pointer,
            code,
            message: format!("{place}: {reason}"),
        }
    })?;
    deserializer.end().map_err(|error| syntax(&error))?;
    Ok(value)
}

/// Refuses members that the type of the body does not have, below the top level too.
pub(super) fn check_members(shape: Shape, body: &Value) -> Result<()> {
    shape.check(body).map_err(|unknown| BodyError::Member {
        message: unknown.to_string(),
        pointer: unknown.pointer,
        code: FieldCode::UnknownMember,
    })
}

fn syntax(error: &serde_json::Error) -> BodyError {
    BodyError::Syntax {
        line: error.line(),
        column: error.column(),
    }
}

/// The code of serde's message, and what is safe to repeat of it: names of members and what was expected.
fn reason(message: &str) -> (FieldCode, String) {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(reason, _)| reason);
    if message.starts_with("missing field") {
        (FieldCode::Missing, message.to_owned())
    } else if message.starts_with("unknown field") {
        let expected = message
            .rsplit_once(", expected ")
            .map_or("", |(_, expected)| expected);
        (
            FieldCode::UnknownMember,
            format!("a member it does not have; expected {expected}"),
        )
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        (FieldCode::InvalidValue, format!("expected {expected}"))
    } else {
        (FieldCode::InvalidValue, "a value it cannot have".to_owned())
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    problem::pointer(path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }))
}
