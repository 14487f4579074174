//! Single requests over HTTP. The API key is a part of the URL, so no URL leaves this file.

use super::request::{Key, Request};
use super::settings::{ConfigError, SupervisorSettings, Timeouts};
use crate::adapters::http::{Answer, Body, Client, Connector, HttpError, Keepalive, Kept, Limits};
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use url::Url;

/// Size limit of an answer, bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Length limit of the Supervisor's text in an error, characters.
const TEXT_MAX: usize = 300;
/// The Supervisor's HTTP server closes a connection that was idle for 5 s.
const KEPT: Kept = Kept {
    at_most: 2,
    lifetime: Duration::from_secs(4),
};
/// The log is silent for as long as nothing happens, and listeners leak in the Supervisor, so a silent connection is never
/// closed for its silence. The kernel asks whether the other end is still there, and ends a connection that is only half
/// open after about 2 min.
const KEEPALIVE: Keepalive = Keepalive {
    after: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    retries: 4,
};
/// Never a valid key, because the Supervisor's keys are hexadecimal.
const INVALID_KEY: &str = "not-a-key";

pub(super) struct HttpClient {
    http: Client,
    base: Url,
    key: SecretString,
    timeouts: Timeouts,
}

impl HttpClient {
    pub(super) fn new(settings: SupervisorSettings, timeouts: Timeouts) -> Result<Self, ConfigError> {
        let base: Url = settings
            .address
            .trim()
            .parse()
            .map_err(|error| ConfigError::Address(format!("{error}")))?;
        let only_host_and_port = base.scheme() == "http"
            && base.path() == "/"
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !only_host_and_port {
            return Err(ConfigError::Extra);
        }
        let server = base
            .as_str()
            .parse()
            .map_err(|error| ConfigError::Address(format!("{error}")))?;
        let connector = Connector::new(server, timeouts.connect).with_keepalive(KEEPALIVE);
        let http = Client::new(connector, KEPT);
        Ok(Self {
            http,
            base,
            key: settings.api_key,
            timeouts,
        })
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(super) fn api_key(&self) -> &str {
        self.key.expose_secret()
    }

    /// Sends a request once. `Ok` is an answer with a 2xx status and an unread body.
    pub(super) async fn send(
        &self,
        request: Request<'_>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Answer, SupervisorError> {
        let name = request.name();
        let limits = Limits {
            progress: None,
            total: timeout.into(),
        };
        let answer = self.http.call(self.http_request(request)?, limits).await;
        let answer = answer.map_err(|error| self.connection_error(&name, &error))?;
        let Some(kind) = error_kind(answer.status) else {
            return Ok(answer);
        };
        let status = answer.status.as_u16();
        // The text only explains the status; if it cannot be read, the status suffices.
        let text = match self.body(answer, &name).await {
            Ok(body) => self.error_text(&body),
            Err(_) => String::new(),
        };
        let separator = if text.is_empty() { "" } else { ": " };
        Err(supervisor_error(
            kind,
            format!("{name}: the Supervisor answered {status}{separator}{text}"),
        ))
    }

    fn http_request(&self, request: Request<'_>) -> Result<hyper::Request<Body>, SupervisorError> {
        let mut url = self.base.clone();
        url.set_path(request.path);
        let key = match request.key {
            Key::Valid => self.api_key(),
            Key::Invalid => INVALID_KEY,
        };
        url.query_pairs_mut().append_pair("apikey", key);
        let name = request.name();
        let mut http = hyper::Request::builder().method(request.method).uri(url.as_str());
        let mut body = Body::default();
        if let Some(json) = request.body {
            http = http.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body = json.to_string().into();
        }
        http.body(body).map_err(|error| {
            let text = format!(
                "{name}: the request cannot be written: {}",
                self.line(&error.to_string())
            );
            supervisor_error(SupervisorErrorKind::Refused, text)
        })
    }

    /// Reads the body of an answer up to the size limit.
    pub(super) async fn body(&self, mut answer: Answer, name: &str) -> Result<Vec<u8>, SupervisorError> {
        let mut body = Vec::new();
        while let Some(piece) = answer
            .chunk()
            .await
            .map_err(|error| self.connection_error(name, &error))?
        {
            if body.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(supervisor_error(
                    SupervisorErrorKind::Garbage,
                    format!("{name}: the answer has more than {ANSWER_MAX_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// One line of text from the Supervisor, short and without the key.
    pub(super) fn line(&self, text: &str) -> String {
        one_line(text, &[self.api_key()], TEXT_MAX)
    }

    /// The text of an error answer: the member `message` or `Error` of a JSON body, otherwise the body itself.
    fn error_text(&self, body: &[u8]) -> String {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let member = json.as_ref().and_then(|json| {
            ["message", "Error"]
                .iter()
                .find_map(|name| json.get(*name)?.as_str())
        });
        let text = member.map_or_else(|| String::from_utf8_lossy(body), Into::into);
        self.line(&text)
    }

    pub(super) fn connection_error(&self, name: &str, error: &HttpError) -> SupervisorError {
        let text = match error {
            HttpError::Timeout | HttpError::ConnectTimeout { .. } => "no answer in time".to_owned(),
            _ => match innermost(error) {
                Some(cause) => format!("{error}: {}", self.line(&cause.to_string())),
                None => error.to_string(),
            },
        };
        supervisor_error(SupervisorErrorKind::Unavailable, format!("{name}: {text}"))
    }
}

/// The last cause, which is the most specific one.
fn innermost(error: &HttpError) -> Option<&dyn Error> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause)
}

pub(super) fn supervisor_error(kind: SupervisorErrorKind, message: String) -> SupervisorError {
    SupervisorError { kind, message }
}

/// The kind of error that a status is; `None` for success.
fn error_kind(status: StatusCode) -> Option<SupervisorErrorKind> {
    Some(match status.as_u16() {
        200..=299 => return None,
        401 => SupervisorErrorKind::Unauthorized,
        423 => SupervisorErrorKind::Locked,
        400..=499 => SupervisorErrorKind::Refused,
        500..=599 => SupervisorErrorKind::Unavailable,
        _ => SupervisorErrorKind::Garbage,
    })
}
