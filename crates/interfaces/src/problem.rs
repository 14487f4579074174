//! Errors on the wire: RFC 9457 `application/problem+json` (contract §1).

use crate::Timestamp;
use crate::codes::{FieldCode, ProblemCode};
use serde::{Deserialize, Serialize};

/// The media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One problem. The agent acts on `status`, `retryable` and `retry_after_seconds`; the rest is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The HTTP status, repeated.
    pub status: u16,
    /// What kind of problem.
    pub code: ProblemCode,
    /// One sentence: what was wrong.
    pub title: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again, if known, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// The heartbeat interval from now on, if the server wants another (contract §4.4: "in errors too").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_heartbeat_seconds: Option<u32>,
    /// The present revision, where the request was for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The server's name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
    /// Which members of the request were wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One member of a request that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the member.
    pub pointer: String,
    /// What is wrong with it.
    pub code: FieldCode,
    /// The same as a sentence that also says what would be right; missing where the problem's title says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl FieldError {
    /// A member and what is wrong with it.
    pub fn new(pointer: impl Into<String>, code: FieldCode) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: None,
        }
    }
}

impl Problem {
    /// A problem with a status, a code and a sentence; not retryable.
    pub fn new(status: u16, code: ProblemCode, title: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: title.into(),
            detail: None,
            retryable: false,
            retry_after_seconds: None,
            next_heartbeat_seconds: None,
            revision: None,
            request_id: None,
            server_time: None,
            errors: Vec::new(),
        }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Marks it as worth another try, after so many seconds if known.
    #[must_use]
    pub fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retryable = true;
        self.retry_after_seconds = seconds;
        self
    }
}

/// A JSON pointer (RFC 6901) to a member: `["services", "a/b"]` is `/services/a~1b`; no path is the whole document.
pub fn pointer<S: AsRef<str>>(path: impl IntoIterator<Item = S>) -> String {
    let mut pointer = String::new();
    for name in path {
        pointer.push('/');
        for c in name.as_ref().chars() {
            match c {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                c => pointer.push(c),
            }
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_back_to_its_member_whatever_the_names_are() {
        let document = serde_json::json!({ "a/b": { "~1": [1, 2] }, "": 3 });
        assert_eq!(document.pointer(&pointer(["a/b", "~1", "1"])), Some(&2.into()));
        assert_eq!(document.pointer(&pointer([""])), Some(&3.into()));
        assert_eq!(pointer([""; 0]), "");
    }
}
