//! JSON bodies: limited in size and time. Errors name the place and never repeat what was sent, which may be a token.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::members::Shape;
use baseos_interfaces::mismatch::Mismatch;
use baseos_interfaces::problem;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
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

/// What a body says. Every body is an object; serde would take a list for one too, by the order of its members.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        read::<Map<String, Value>>(bytes)?;
    }
    read(bytes)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = pointer(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            mismatch(place, &inner.to_string())
        } else {
            syntax(&inner)
        }
    })?;
    deserializer.end().map_err(|error| syntax(&error))?;
    Ok(value)
}

/// Refuses members that the type of the body does not have, below the top level too.
pub(super) fn check_members(shape: Shape, body: &Value) -> Result<()> {
    shape.check(body).map_err(|wrong| {
        let (pointer, code) = wrong.place();
        BodyError::Member {
            pointer: pointer.to_owned(),
            code,
            message: wrong.to_string(),
        }
    })
}

fn syntax(error: &serde_json::Error) -> BodyError {
    BodyError::Syntax {
        line: error.line(),
        column: error.column(),
    }
}

/// The error for serde's message about the member at `place`, which ends with line and column.
fn mismatch(place: String, message: &str) -> BodyError {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message);
    let mismatch = Mismatch::of(message);
    let code = mismatch.code();
    if let Mismatch::Missing(member) = mismatch {
        let pointer = place + &problem::pointer([member]);
        return BodyError::Member {
            message: format!("`{pointer}` is missing"),
            pointer,
            code,
        };
    }
    let shown = match place.as_str() {
        "" => "the body".to_owned(),
        place => format!("`{place}`"),
    };
    BodyError::Member {
        message: format!("{shown}: {mismatch}"),
        pointer: place,
        code,
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
