//! Reading a JSON body: bounded, timed, and with errors that name the place but never repeat what was sent, since
//! that may be a token.

use crate::error::{Answer, ApiError};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use baseos_interfaces::problem::{Problem, code};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// A body that is too large is read on and thrown away up to here: a client that is still sending would miss the
/// answer.
const DRAIN_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The body as a value.
pub(super) async fn json<T: DeserializeOwned>(request: Request, limit: usize) -> Answer<T> {
    let bytes = bytes(request, limit).await?;
    parse(&bytes)
}

/// The body's bytes, when it says it is JSON.
pub(super) async fn bytes(request: Request, limit: usize) -> Answer<Vec<u8>> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let title = "the body must be JSON, with `Content-Type: application/json`";
        return Err(Problem::new(415, code::UNSUPPORTED_MEDIA_TYPE, title).into());
    }
    tokio::time::timeout(READ_TIMEOUT, collect(request.into_body(), limit))
        .await
        .unwrap_or_else(|_| {
            let title = "the body did not arrive in time";
            Err(Problem::new(408, code::INVALID_REQUEST, title)
                .retry_after(None)
                .into())
        })
}

async fn collect(mut body: Body, limit: usize) -> Answer<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("the body was cut off"))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > DRAIN_MAX_BYTES {
            break;
        }
    }
    if length > limit {
        let title = format!("the body has more than {limit} bytes");
        return Err(Problem::new(413, code::PAYLOAD_TOO_LARGE, title).into());
    }
    Ok(bytes)
}

/// JSON as a value.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        if !inner.is_data() {
            return broken(&inner);
        }
        let (what, words) = in_words(&inner.to_string());
        let place = if pointer.is_empty() {
            "the body".to_owned()
        } else {
            format!("`{pointer}`")
        };
        ApiError::member(pointer, what, format!("{place}: {words}"))
    })?;
    deserializer.end().map_err(|error| broken(&error))?;
    Ok(value)
}

fn broken(error: &serde_json::Error) -> ApiError {
    // "expected value at line 1 column 1": says the place, not the text. Recursion is bounded by the parser.
    let title = format!(
        "the body is not JSON, see line {} column {}",
        error.line(),
        error.column()
    );
    ApiError::invalid(title)
}

/// Takes what is safe to repeat out of serde's words: names of members and what was expected.
fn in_words(message: &str) -> (&'static str, String) {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(words, _)| words);
    if message.starts_with("missing field") {
        ("missing", message.to_owned())
    } else if message.starts_with("unknown field") {
        let expected = message
            .rsplit_once(", expected ")
            .map_or("", |(_, expected)| expected);
        (
            "unknownMember",
            format!("a member it does not have; expected {expected}"),
        )
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        ("invalidValue", format!("expected {expected}"))
    } else {
        ("invalidValue", "a value it cannot have".to_owned())
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}
