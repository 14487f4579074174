//! Single POST requests to Cloudly.

use super::answer::{Answer, is_json};
use super::call_failure::{self, failure, garbage};
use super::certificates::CertificateTimes;
use super::settings::{ConfigError, Timeouts};
use super::tls;
use crate::adapters::http::{self, Body, Connector, Kept, Limits};
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::proxy::ProxyChoice;
use crate::vault::Endpoint;
use baseos_interfaces::Timestamp;
use baseos_interfaces::limits::{ANSWER_MAX_BYTES, HEARTBEAT_PATH, REGISTER_PATH};
use baseos_interfaces::redact::redact;
use baseos_interfaces::token::Token;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Request, StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Longer than usual heartbeat intervals, so that heartbeats share a connection.
const KEPT: Kept = Kept {
    at_most: 1,
    lifetime: Duration::from_secs(300),
};

/// Sent with registrations only: heartbeats save the bytes, because their status contains the version.
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("baserunner/", env!("CARGO_PKG_VERSION")));

/// The endpoints that are called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Register,
    Heartbeat,
}

pub(super) struct Client {
    http: http::Client,
    limits: Limits,
    register: Uri,
    heartbeat: Uri,
    proxy: ProxyChoice,
    certificate_times: Arc<CertificateTimes>,
}

impl Client {
    pub(super) fn new(
        endpoint: &Endpoint,
        proxy: ProxyChoice,
        timeouts: Timeouts,
    ) -> Result<Self, ConfigError> {
        let certificate_times = Arc::<CertificateTimes>::default();
        let tls = tls::config(endpoint.ca_pem.as_deref(), certificate_times.clone())?;
        let base = base(&endpoint.url, endpoint.allow_http)?;
        let register = at(&base, REGISTER_PATH)?;
        let connector = Connector::new(register.clone(), timeouts.connect)
            .with_tls(tls)
            .with_proxy(proxy.clone());
        Ok(Self {
            http: http::Client::new(connector, KEPT),
            limits: Limits {
                progress: Some(timeouts.progress),
                total: Some(timeouts.call),
            },
            register,
            heartbeat: at(&base, HEARTBEAT_PATH)?,
            proxy,
            certificate_times,
        })
    }

    /// See [`Effect::SetCertificateTimes`](crate::lifecycle::Effect::SetCertificateTimes).
    pub(super) fn accept_certificates_since(&self, since: Option<Timestamp>) {
        self.certificate_times.set(since);
    }

    /// Posts a JSON body once and returns the answer, which is JSON by its header.
    ///
    /// # Errors
    /// See [`call_failure`].
    pub(super) async fn post(
        &self,
        call: Call,
        token: Option<&Token>,
        body: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        let uri = match call {
            Call::Register => &self.register,
            Call::Heartbeat => &self.heartbeat,
        };
        let mut request =
            Request::post(uri).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request = match token {
            Some(token) => request.header(AUTHORIZATION, bearer(token)?),
            None => request.header(USER_AGENT, USER_AGENT_VALUE),
        };
        let request = request
            .body(Body::from(body))
            .map_err(|error| garbage(format!("the request cannot be written: {error}")))?;
        let answer = self.http.call(request, self.limits).await.map_err(|error| {
            self.proxy.note_unreachable();
            call_failure::unreachable(&error)
        })?;
        if let Some(proxy) = answer
            .proxy()
            .filter(|_| answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        {
            self.proxy.note_unreachable();
            return Err(call_failure::proxy_refuses_login(proxy));
        }
        let answer = read(answer).await?;
        if !answer.status.is_success() {
            return Err(call_failure::refusal(&answer));
        }
        if !is_json(&answer.headers) {
            return Err(garbage(format!(
                "{} with the content type {} instead of JSON: is there a captive portal or a proxy in between?",
                answer.status.as_u16(),
                quoted(&answer.headers, CONTENT_TYPE)
            )));
        }
        Ok(answer)
    }
}

/// # Errors
/// `Garbage`; never, because the wire types can always be serialised.
pub(super) fn to_json<T: Serialize>(body: &T) -> Result<Vec<u8>, CallFailure> {
    serde_json::to_vec(body).map_err(|_| garbage("the request cannot be written as JSON".to_owned()))
}

/// Reads an answer's body.
///
/// # Errors
/// `Garbage`: it is not the JSON of this type.
pub(super) fn from_json<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallFailure> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // serde's messages quote unexpected values, which may be a token.
        garbage(format!(
            "the answer cannot be read: {}",
            redact(&error.to_string(), &[])
        ))
    })
}

fn base(url: &str, allow_http: bool) -> Result<Url, ConfigError> {
    let url: Url = url
        .trim()
        .parse()
        .map_err(|error| ConfigError::Url(format!("{error}")))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        other => return Err(ConfigError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::Extra);
    }
    Ok(url)
}

fn at(base: &Url, path: &str) -> Result<Uri, ConfigError> {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.as_str()
        .parse()
        .map_err(|error| ConfigError::Url(format!("{error}")))
}

fn bearer(token: &Token) -> Result<HeaderValue, CallFailure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        failure(
            CallFailureKind::NoCredentials,
            "the stored token has characters that a header cannot have".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer up to the size limit. An encoded body is not read: the agent accepts no encoding, and a small body
/// may decompress to a large one.
async fn read(mut answer: http::Answer) -> Result<Answer, CallFailure> {
    let status = answer.status;
    let headers = std::mem::take(&mut answer.headers);
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(garbage(format!(
            "{} in the encoding {}, which was not asked for",
            status.as_u16(),
            quoted(&headers, CONTENT_ENCODING)
        )));
    }
    let too_large = || {
        garbage(format!(
            "{} with more than {ANSWER_MAX_BYTES} bytes",
            status.as_u16()
        ))
    };
    if answer.announced() > ANSWER_MAX_BYTES as u64 {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = answer
        .chunk()
        .await
        .map_err(|error| call_failure::unreachable(&error))?
    {
        if body.len() + piece.len() > ANSWER_MAX_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// The value of a header for a message: quoted, short and printable.
fn quoted(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers
        .get(name)
        .map_or("(none)", |value| value.to_str().unwrap_or("(unreadable)"));
    format!("`{}`", one_line(value, &[], 80))
}
