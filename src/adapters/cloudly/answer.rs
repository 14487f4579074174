//! HTTP answers, of Cloudly or of a proxy or captive portal in between.

use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};

/// An answer with its complete body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Whether the content type is `application/json` or `application/problem+json`.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    media_type.is_some_and(|media_type| {
        media_type.eq_ignore_ascii_case("application/json")
            || media_type.eq_ignore_ascii_case("application/problem+json")
    })
}
