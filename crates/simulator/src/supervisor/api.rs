//! Requests and answers of the HTTP API.

use crate::json::{Json, object};

/// A request, as far as the Supervisor looks at it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The key of `?apikey=` or of the `Authorization` header.
    pub key: Option<String>,
    /// Whether the content type is JSON; Express leaves any other body unread.
    pub json: bool,
    pub body: Vec<u8>,
}

impl Request {
    /// `POST /v2/local/target-state`
    pub fn post_target(body: Vec<u8>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/v2/local/target-state".to_owned(),
            key: None,
            json: true,
            body,
        }
    }

    /// `POST /v1/update` without a body: the backend tells the Supervisor to fetch its target.
    pub fn update(key: &str) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/v1/update".to_owned(),
            key: Some(key.to_owned()),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<&'static str>,
    pub body: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Answer(Answer),
    /// The answer comes as [`super::Effect::Answer`] with this ticket.
    Later(u64),
    /// The log from now on, line by line, until the caller closes the connection.
    Log,
    /// None: the process has ended and the connection with it.
    Dropped,
}

impl Answer {
    pub fn json(status: u16, body: &Json) -> Self {
        Self {
            status,
            content_type: Some("application/json; charset=utf-8"),
            body: body.to_text(),
        }
    }

    /// Text, with Express's default type for a string.
    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            content_type: Some("text/html; charset=utf-8"),
            body: body.to_owned(),
        }
    }

    /// Text sent by `sendStatus` or as plain text.
    pub fn plain(status: u16, body: &str) -> Self {
        Self {
            status,
            content_type: Some("text/plain; charset=utf-8"),
            body: body.to_owned(),
        }
    }

    pub fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            body: String::new(),
        }
    }

    /// `{"status":"failed","message":…}`
    pub(crate) fn failed(status: u16, message: &str) -> Self {
        Self::json(status, &object! { "status" => "failed", "message" => message })
    }
}

/// Whether a body asks to ignore update locks.
pub(crate) fn is_forced(body: &Json) -> bool {
    body.get("force")
        .is_some_and(|force| force.is_true() || force.as_str() == Some("true"))
}
