//! What a call that brought no good answer means: one place where errors and statuses become a [`CallFailure`].
//!
//! A status that says something about this node (401, 403, 409, 410, 426) counts only with a JSON body: proxies
//! and captive portals answer with such statuses too, and they are not Cloudly. 429 and 5xx count however they
//! come, since all they do is make the agent wait.

use super::answer::{Answer, is_json};
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::limits::RETRY_AFTER_CAP_SECONDS;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use rustls::CertificateError;
use serde_json::Value;
use std::error::Error;
use std::io;

/// A `Retry-After` beyond this is not believed, seconds.
const ABSURD_SECONDS: u64 = 30 * 24 * 3600;
/// How much of a problem's text is passed on, characters.
const TEXT_MAX: usize = 300;

/// A failure without a word of Cloudly's own.
pub(super) fn failure(kind: CallFailureKind, message: String) -> CallFailure {
    CallFailure {
        kind,
        code: None,
        message,
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    }
}

/// It answered something that is no answer.
pub(super) fn garbage(message: String) -> CallFailure {
    failure(CallFailureKind::Garbage, message)
}

/// The client library's error, in words for people and without the URL.
#[expect(clippy::needless_pass_by_value, reason = "the error ends here")]
pub(super) fn unreachable(error: reqwest::Error) -> CallFailure {
    let message = if let Some(tls) = find::<rustls::Error>(&error) {
        tls_message(tls)
    } else if error.is_timeout() && error.is_connect() {
        "no connection to Cloudly in time".to_owned()
    } else if error.is_timeout() {
        "Cloudly did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("no connection to Cloudly: {}", innermost(&error))
    } else {
        format!("the connection to Cloudly broke off: {}", innermost(&error))
    };
    failure(CallFailureKind::Unreachable, message)
}

/// An answer other than 2xx.
pub(super) fn refusal(answer: &Answer) -> CallFailure {
    let status = answer.status;
    if status.is_redirection() {
        return garbage(format!(
            "Cloudly answered with a redirect ({}), which is never followed: set its final URL",
            status.as_u16()
        ));
    }
    let problem = Problem::read(answer);
    let Some(kind) = kind(status, problem.as_ref()) else {
        return garbage(format!(
            "{} without a problem in JSON: that was not Cloudly, is there a proxy or a captive portal in between?",
            status.as_u16()
        ));
    };
    let mut message = format!("Cloudly answered {}", status.as_u16());
    let problem = problem.unwrap_or_default();
    if let Some(text) = problem.text() {
        message.push_str(": ");
        message.push_str(&text);
    }
    // The longer of the two satisfies both.
    let retry_after_seconds = retry_after(&answer.headers).max(problem.retry_after_seconds());
    CallFailure {
        kind,
        code: problem
            .string("code")
            .map(|code| ProblemCode::from(one_line(code, &[], 64))),
        message,
        retry_after_seconds,
        next_heartbeat_seconds: problem.seconds("nextHeartbeatSeconds"),
    }
}

/// `None`: the status says something about this node, and it is not Cloudly who says it.
fn kind(status: StatusCode, problem: Option<&Problem>) -> Option<CallFailureKind> {
    let retryable = problem.is_some_and(|problem| problem.0.get("retryable") == Some(&Value::Bool(true)));
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => return Some(CallFailureKind::Unavailable),
        _ if problem.is_none() => return None,
        _ => {}
    }
    Some(match status.as_u16() {
        401 => CallFailureKind::Unauthorized,
        403 => CallFailureKind::Suspended,
        409 => CallFailureKind::Conflict,
        410 => CallFailureKind::Removed,
        426 => CallFailureKind::TooOld,
        400..=499 if retryable => CallFailureKind::Unavailable,
        400..=499 => CallFailureKind::Rejected,
        _ => return None,
    })
}

/// A problem as leniently as possible: one odd member must not make the others unreadable.
#[derive(Default)]
struct Problem(serde_json::Map<String, Value>);

impl Problem {
    fn read(answer: &Answer) -> Option<Self> {
        if !is_json(&answer.headers) {
            return None;
        }
        serde_json::from_slice(&answer.body).ok().map(Self)
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn seconds(&self, name: &str) -> Option<u32> {
        self.0
            .get(name)?
            .as_u64()
            .and_then(|seconds| u32::try_from(seconds).ok())
    }

    fn retry_after_seconds(&self) -> Option<u32> {
        believable(self.0.get("retryAfterSeconds")?.as_u64()?)
    }

    fn text(&self) -> Option<String> {
        let (title, detail) = (self.string("title"), self.string("detail"));
        let text = [title, detail]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        Some(one_line(&text, &[], TEXT_MAX)).filter(|text| !text.is_empty())
    }
}

/// `Retry-After` in seconds, or as a date, which is measured against the answer's own `Date`: the device's clock
/// may lie by years.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return believable(value.parse().ok()?);
    }
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    let wait = http_date(value)?.as_second().checked_sub(now.as_second())?;
    believable(u64::try_from(wait).ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text.trim()).ok()
}

fn believable(seconds: u64) -> Option<u32> {
    if seconds > ABSURD_SECONDS {
        return None;
    }
    Some(u32::try_from(seconds).map_or(RETRY_AFTER_CAP_SECONDS, |s| s.min(RETRY_AFTER_CAP_SECONDS)))
}

fn tls_message(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "Cloudly's certificate is not yet valid: is this device's clock behind?".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "Cloudly's certificate has expired, unless this device's clock is wrong".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "Cloudly's certificate comes from an authority this device does not trust: is BASEOS_CLOUDLY_CA right?"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "Cloudly's certificate is for another name than the one in its URL".to_owned()
            }
            other => format!("Cloudly's certificate is not good: {}", one_line(&other.to_string(), &[], TEXT_MAX)),
        },
        other => format!("no TLS with Cloudly: {}", one_line(&other.to_string(), &[], TEXT_MAX)),
    }
}

/// Looks for a cause of type `E`. An `io::Error` hides what it wraps from `source()`, so it is asked itself.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| find(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The last cause: the one that says something. It knows of addresses, never of the URL.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    if std::ptr::eq(last, error) {
        return "no reason given".to_owned();
    }
    one_line(&last.to_string(), &[], TEXT_MAX)
}
