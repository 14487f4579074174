//! Single requests over HTTP. The API key is a part of the URL, so no URL leaves this file.

use super::request::{Key, Request};
use super::settings::{ConfigError, SupervisorSettings, Timeouts};
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode, Url, redirect, retry};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Size limit of an answer, bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Length limit of the Supervisor's text in an error, characters.
const TEXT_MAX: usize = 300;
/// Shorter than the 5 s after which the Supervisor's HTTP server closes an idle connection, so that no request is sent
/// on a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The log is silent for as long as nothing happens, and listeners leak in the Supervisor, so a silent connection is never
/// closed for its silence. The kernel asks whether the other end is still there, and ends a connection that is only half
/// open after about 2 min.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
/// Never a valid key, because the Supervisor's keys are hexadecimal.
const INVALID_KEY: &str = "not-a-key";

pub(super) struct HttpClient {
    http: reqwest::Client,
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
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(empty_tls_config()?)
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
            .tcp_keepalive_retries(KEEPALIVE_RETRIES)
            .connect_timeout(timeouts.connect)
            .build()
            .map_err(|error| ConfigError::Client(error.without_url().to_string()))?;
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
    ) -> Result<Response, SupervisorError> {
        let name = request.name();
        let mut url = self.base.clone();
        url.set_path(request.path);
        let key = match request.key {
            Key::Valid => self.api_key(),
            Key::Invalid => INVALID_KEY,
        };
        url.query_pairs_mut().append_pair("apikey", key);
        let mut builder = self.http.request(request.method, url);
        if let Some(timeout) = timeout.into() {
            builder = builder.timeout(timeout);
        }
        if let Some(body) = request.body {
            builder = builder
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body.to_string());
        }
        let response = builder
            .send()
            .await
            .map_err(|error| self.connection_error(&name, error))?;
        let Some(kind) = error_kind(response.status()) else {
            return Ok(response);
        };
        let status = response.status().as_u16();
        // The text only explains the status; if it cannot be read, the status suffices.
        let text = match self.body(response, &name).await {
            Ok(body) => self.error_text(&body),
            Err(_) => String::new(),
        };
        let separator = if text.is_empty() { "" } else { ": " };
        Err(supervisor_error(
            kind,
            format!("{name}: the Supervisor answered {status}{separator}{text}"),
        ))
    }

    /// Reads the body of an answer up to the size limit.
    pub(super) async fn body(&self, mut response: Response, name: &str) -> Result<Vec<u8>, SupervisorError> {
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.connection_error(name, error))?
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

    pub(super) fn connection_error(&self, name: &str, error: reqwest::Error) -> SupervisorError {
        let error = error.without_url();
        let text = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            let problem = if error.is_connect() {
                "no connection"
            } else {
                "the connection broke off"
            };
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            format!("{problem}: {}", self.line(&cause.to_string()))
        };
        supervisor_error(SupervisorErrorKind::Unavailable, format!("{name}: {text}"))
    }
}

pub(super) fn supervisor_error(kind: SupervisorErrorKind, message: String) -> SupervisorError {
    SupervisorError { kind, message }
}

/// A TLS configuration that trusts no certificate. The address is plain HTTP, but the library panics without a TLS
/// provider.
fn empty_tls_config() -> Result<ClientConfig, ConfigError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Client(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
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
