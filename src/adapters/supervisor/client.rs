//! One request to the Supervisor. The key is in the URL, so the URL stays in here.

use super::request::{Key, Request};
use super::settings::{ConfigError, Deadlines, SupervisorSettings};
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode, Url, redirect, retry};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Largest answer that is read, bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// How much of an error's text is passed on, characters.
const TEXT_MAX: usize = 300;
/// Shorter than the 5 s after which the Supervisor's HTTP server closes an idle connection: a call must not be
/// lost to a connection that is being closed at that moment.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// No key the Supervisor could have made: keys are hex.
const WRONG_KEY: &str = "not-a-key";

/// A client for the one Supervisor, or for none: then every call says so. Cheap to clone.
#[derive(Clone)]
pub struct SupervisorClient {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
    deadlines: Deadlines,
}

impl SupervisorClient {
    /// Sets up the client; connects to nothing yet. `None`: no Supervisor is configured.
    ///
    /// # Errors
    /// Says which setting is wrong and what would be right.
    pub fn new(settings: Option<SupervisorSettings>) -> Result<Self, ConfigError> {
        Self::with_deadlines(settings, Deadlines::default())
    }

    pub(crate) fn with_deadlines(
        settings: Option<SupervisorSettings>,
        deadlines: Deadlines,
    ) -> Result<Self, ConfigError> {
        let inner = settings
            .map(|settings| Inner::new(settings, deadlines))
            .transpose()?;
        Ok(Self {
            inner: inner.map(Arc::new),
        })
    }

    pub(super) fn is_configured(&self) -> bool {
        self.inner.is_some()
    }

    /// The time a call that only asks may take.
    pub(super) fn call_deadline(&self) -> Duration {
        self.inner
            .as_ref()
            .map_or(Duration::ZERO, |inner| inner.deadlines.call)
    }

    /// The key, for taking it out of texts; empty without one.
    pub(super) fn secret(&self) -> &str {
        self.inner.as_ref().map_or("", |inner| inner.key.expose_secret())
    }

    /// Asks for JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, SupervisorError> {
        let what = request.name();
        let inner = self.inner()?;
        let response = inner.send(request, inner.deadlines.call).await?;
        let body = inner.body(response, &what).await?;
        serde_json::from_slice(&body).map_err(|why| {
            let why = one_line(&why.to_string(), &[self.secret()], TEXT_MAX);
            error(
                SupervisorErrorKind::Garbage,
                format!("{what}: its answer cannot be read: {why}"),
            )
        })
    }

    /// Asks for something to be done that takes it no time.
    pub(super) async fn order(&self, request: Request<'_>) -> Result<(), SupervisorError> {
        let inner = self.inner()?;
        inner.send(request, inner.deadlines.call).await.map(drop)
    }

    /// Asks for something it answers when it is done.
    pub(super) async fn work(&self, request: Request<'_>) -> Result<(), SupervisorError> {
        let inner = self.inner()?;
        inner.send(request, inner.deadlines.work).await.map(drop)
    }

    /// The last `keep` bytes of a text, and whether there was more before them. However long it is, no more than
    /// twice that is held.
    pub(super) async fn tail(
        &self,
        request: Request<'_>,
        keep: usize,
    ) -> Result<(Vec<u8>, bool), SupervisorError> {
        let what = request.name();
        let inner = self.inner()?;
        let mut response = inner.send(request, inner.deadlines.call).await?;
        let mut tail: VecDeque<u8> = VecDeque::new();
        let mut cut = false;
        while let Some(piece) = response.chunk().await.map_err(|why| inner.broken(&what, why))? {
            let skip = piece.len().saturating_sub(keep);
            let excess = (tail.len() + piece.len() - skip).saturating_sub(keep);
            tail.drain(..excess);
            tail.extend(&piece[skip..]);
            cut |= skip > 0 || excess > 0;
        }
        Ok((tail.into(), cut))
    }

    /// Opens an answer that has no end; only its head has a deadline.
    pub(super) async fn open(&self, request: Request<'_>) -> Result<Response, SupervisorError> {
        let late = format!("{}: no answer in time", request.name());
        let inner = self.inner()?;
        let opened = timeout(inner.deadlines.call, inner.send(request, None)).await;
        opened.map_err(|_| error(SupervisorErrorKind::Unavailable, late))?
    }

    fn inner(&self) -> Result<&Inner, SupervisorError> {
        self.inner.as_deref().ok_or_else(|| {
            error(
                SupervisorErrorKind::NotConfigured,
                "no Supervisor is configured: the service needs the label io.balena.features.supervisor-api=1"
                    .to_owned(),
            )
        })
    }
}

impl Inner {
    fn new(settings: SupervisorSettings, deadlines: Deadlines) -> Result<Self, ConfigError> {
        let base: Url = settings
            .address
            .trim()
            .parse()
            .map_err(|why| ConfigError::Address(format!("{why}")))?;
        let plain = base.scheme() == "http"
            && base.path() == "/"
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !plain {
            return Err(ConfigError::Extra);
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_tls()?)
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_keepalive(None)
            .connect_timeout(deadlines.connect)
            .build()
            .map_err(|why| ConfigError::Client(why.without_url().to_string()))?;
        Ok(Self {
            http,
            base,
            key: settings.api_key,
            deadlines,
        })
    }

    /// Sends a request once; `Ok` is a 2xx whose body is still to be read.
    async fn send(
        &self,
        request: Request<'_>,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<Response, SupervisorError> {
        let what = request.name();
        let mut url = self.base.clone();
        url.set_path(request.path);
        let key = match request.key {
            Key::Right => self.key.expose_secret(),
            Key::Wrong => WRONG_KEY,
        };
        url.query_pairs_mut().append_pair("apikey", key);
        let mut builder = self.http.request(request.method, url);
        if let Some(deadline) = deadline.into() {
            builder = builder.timeout(deadline);
        }
        if let Some(body) = request.body {
            builder = builder
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body.to_string());
        }
        let response = builder.send().await.map_err(|why| self.broken(&what, why))?;
        let Some(kind) = kind(response.status()) else {
            return Ok(response);
        };
        let status = response.status().as_u16();
        // The text explains; when it cannot be had, the status alone must do.
        let text = match self.body(response, &what).await {
            Ok(body) => self.text(&body),
            Err(_) => String::new(),
        };
        let separator = if text.is_empty() { "" } else { ": " };
        Err(error(
            kind,
            format!("{what}: the Supervisor answered {status}{separator}{text}"),
        ))
    }

    async fn body(&self, mut response: Response, what: &str) -> Result<Vec<u8>, SupervisorError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|why| self.broken(what, why))? {
            if body.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(error(
                    SupervisorErrorKind::Garbage,
                    format!("{what}: the answer has more than {ANSWER_MAX_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// What an error's body says: its `message` or `Error` when it is JSON, else itself.
    fn text(&self, body: &[u8]) -> String {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let member = json.as_ref().and_then(|json| {
            ["message", "Error"]
                .iter()
                .find_map(|name| json.get(*name)?.as_str())
        });
        let text = member.map_or_else(|| String::from_utf8_lossy(body), Into::into);
        one_line(&text, &[self.key.expose_secret()], TEXT_MAX)
    }

    fn broken(&self, what: &str, why: reqwest::Error) -> SupervisorError {
        let why = why.without_url();
        let text = if why.is_timeout() {
            "no answer in time".to_owned()
        } else {
            let step = if why.is_connect() {
                "no connection"
            } else {
                "the connection broke off"
            };
            let mut last: &dyn std::error::Error = &why;
            while let Some(next) = last.source() {
                last = next;
            }
            format!(
                "{step}: {}",
                one_line(&last.to_string(), &[self.key.expose_secret()], TEXT_MAX)
            )
        };
        error(SupervisorErrorKind::Unavailable, format!("{what}: {text}"))
    }
}

pub(super) fn error(kind: SupervisorErrorKind, message: String) -> SupervisorError {
    SupervisorError { kind, message }
}

/// The library insists on TLS settings and panics without a provider, so it gets some that trust nobody.
fn no_tls() -> Result<ClientConfig, ConfigError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| ConfigError::Client(why.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

/// What an answer means; `None`: it is a good one.
fn kind(status: StatusCode) -> Option<SupervisorErrorKind> {
    Some(match status.as_u16() {
        200..=299 => return None,
        401 => SupervisorErrorKind::Unauthorized,
        423 => SupervisorErrorKind::Locked,
        400..=499 => SupervisorErrorKind::Refused,
        500..=599 => SupervisorErrorKind::Unavailable,
        _ => SupervisorErrorKind::Garbage,
    })
}
