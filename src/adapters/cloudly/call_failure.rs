//! Converts errors and statuses of failed calls to [`CallFailure`]s.
//!
//! A status about this node (401, 403, 409, 410, 426) counts only with a JSON body, because proxies and captive portals
//! answer with such statuses too. 408, 425, 429 and 5xx count with any body, because they only make the agent wait.

use super::answer::{Answer, is_json};
use crate::adapters::http::HttpError;
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::limits::RETRY_AFTER_CAP_SECONDS;
use hyper::header::{DATE, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::CertificateError;
use serde_json::Value;
use std::error::Error;
use std::io;

/// A longer wait is not plausible and is ignored, seconds.
const PLAUSIBLE_MAX_SECONDS: u64 = 30 * 24 * 3600;
/// Length limit of text from an answer or an error in a message, characters.
const TEXT_MAX: usize = 300;

/// A failure that was not reported by Cloudly.
pub(super) fn failure(kind: CallFailureKind, message: String) -> CallFailure {
    CallFailure {
        kind,
        code: None,
        message,
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    }
}

/// A failure of an answer that is not valid.
pub(super) fn garbage(message: String) -> CallFailure {
    failure(CallFailureKind::Garbage, message)
}

/// Converts an error of the connection.
pub(super) fn unreachable(error: &HttpError) -> CallFailure {
    let message = match error {
        HttpError::ConnectTimeout { proxy: None } => "no connection to Cloudly in time".to_owned(),
        HttpError::ConnectTimeout { proxy: Some(proxy) } => {
            format!("no connection to Cloudly through the proxy {proxy} in time")
        }
        HttpError::Connect { proxy, .. } => match (find::<rustls::Error>(error), proxy) {
            (Some(tls), _) => tls_message(tls),
            (None, None) => format!("no connection to Cloudly: {}", innermost(error)),
            (None, Some(proxy)) => {
                format!(
                    "no connection to Cloudly through the proxy {proxy}: {}",
                    innermost(error)
                )
            }
        },
        HttpError::ProxyRefuses { proxy, status } if *status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return proxy_refuses_login(proxy);
        }
        HttpError::ProxyRefuses { proxy, status } => {
            format!(
                "the proxy {proxy} refuses to connect to Cloudly: it answered {}",
                status.as_u16()
            )
        }
        HttpError::Timeout => "Cloudly did not answer in time".to_owned(),
        HttpError::Broken(_) | HttpError::Closed => match find::<rustls::Error>(error) {
            Some(tls) => tls_message(tls),
            None => format!("the connection to Cloudly broke off: {}", innermost(error)),
        },
    };
    failure(CallFailureKind::Unreachable, message)
}

/// The proxy at this address answered 407 in Cloudly's place.
pub(super) fn proxy_refuses_login(proxy: &str) -> CallFailure {
    let message =
        format!("the proxy {proxy} does not accept the user name and password that are configured for it");
    failure(CallFailureKind::Unreachable, message)
}

/// Converts an answer with a status other than 2xx.
pub(super) fn refusal(answer: &Answer) -> CallFailure {
    let status = answer.status;
    if status.is_redirection() {
        return garbage(format!(
            "Cloudly answered with a redirect ({}), which is never followed: configure the final URL",
            status.as_u16()
        ));
    }
    let problem = Problem::read(answer);
    let Some(kind) = failure_kind(status, problem.as_ref()) else {
        return garbage(format!(
            "{} without a problem in JSON, so not from Cloudly: is there a proxy or a captive portal in between?",
            status.as_u16()
        ));
    };
    let mut message = format!("Cloudly answered {}", status.as_u16());
    let problem = problem.unwrap_or_default();
    if let Some(text) = problem.text() {
        message.push_str(": ");
        message.push_str(&text);
    }
    // The longer wait satisfies both.
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

/// `None`: not an answer of Cloudly, e.g. a status about this node without a problem in JSON.
fn failure_kind(status: StatusCode, problem: Option<&Problem>) -> Option<CallFailureKind> {
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

/// The members of a problem. They are read one by one, so that an invalid one does not affect the others.
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
        plausible(self.0.get("retryAfterSeconds")?.as_u64()?)
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

/// `Retry-After` in seconds. A date is compared with the answer's own `Date`, because the device's clock may be wrong by
/// years.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return plausible(value.parse().ok()?);
    }
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    let wait = http_date(value)?.as_second().checked_sub(now.as_second())?;
    plausible(u64::try_from(wait).ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text.trim()).ok()
}

/// A wait, at most `RETRY_AFTER_CAP_SECONDS`; `None` if it is not plausible.
fn plausible(seconds: u64) -> Option<u32> {
    if seconds > PLAUSIBLE_MAX_SECONDS {
        return None;
    }
    Some(u32::try_from(seconds).map_or(RETRY_AFTER_CAP_SECONDS, |s| s.min(RETRY_AFTER_CAP_SECONDS)))
}

fn tls_message(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
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
            other => format!("Cloudly's certificate is invalid: {}", one_line(&other.to_string(), &[], TEXT_MAX)),
        },
        other => format!("the TLS handshake with Cloudly failed: {}", one_line(&other.to_string(), &[], TEXT_MAX)),
    }
}

/// Finds a cause of type `E`. `source()` skips the error that an `io::Error` wraps, so that one is checked explicitly.
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

/// The message of the last cause, which is the most specific one. It may contain an address, never the URL.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::eq(cause, error) {
        return "no reason given".to_owned();
    }
    one_line(&cause.to_string(), &[], TEXT_MAX)
}
