//! One POST to Cloudly and what came of it.

use super::answer::{Answer, is_json};
use super::call_failure::{self, failure, garbage};
use super::settings::{ConfigError, Deadlines};
use super::tls;
use crate::adapters::redact::one_line;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::vault::Endpoint;
use baseos_interfaces::limits::ANSWER_MAX_BYTES;
use baseos_interfaces::redact::redact;
use baseos_interfaces::token::Token;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::{Response, Url, redirect, retry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longer than the longest usual heartbeat interval, so that a beat finds its connection open.
const IDLE_CONNECTION: Duration = Duration::from_secs(300);

/// What a registration says it comes from; heartbeats have no such header.
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("baserunner/", env!("CARGO_PKG_VERSION")));

/// A client for one Cloudly.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    pub(super) fn new(endpoint: &Endpoint, deadlines: Deadlines) -> Result<Self, ConfigError> {
        let base = base(&endpoint.url, endpoint.allow_http)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(endpoint.ca_pem.as_deref())?)
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            // The machine owns every retry; the library's own would be invisible to it.
            .retry(retry::never())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true)
            // A probe every 15 s, which is the library's default, costs more than the heartbeats themselves.
            .tcp_keepalive(None)
            .connect_timeout(deadlines.connect)
            .read_timeout(deadlines.progress)
            .timeout(deadlines.call)
            .build()
            .map_err(|why| ConfigError::Client(why.without_url().to_string()))?;
        Ok(Self { http, base })
    }

    /// Posts a JSON body once and reads the answer as `T`.
    ///
    /// # Errors
    /// Why there is no such answer; see [`call_failure`].
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&Token>,
        body: Vec<u8>,
    ) -> Result<T, CallFailure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let mut request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        // A heartbeat is paid for by the byte, and its status says which agent sent it.
        request = match token {
            Some(token) => request.header(AUTHORIZATION, bearer(token)?),
            None => request.header(USER_AGENT, USER_AGENT_VALUE),
        };
        let response = request.send().await.map_err(call_failure::unreachable)?;
        let answer = read(response).await?;
        if !answer.status.is_success() {
            return Err(call_failure::refusal(&answer));
        }
        if !is_json(&answer.headers) {
            return Err(garbage(format!(
                "{} with the content type {}, where JSON belongs: is there a captive portal or a proxy in between?",
                answer.status.as_u16(),
                shown(&answer.headers, CONTENT_TYPE)
            )));
        }
        serde_json::from_slice(&answer.body).map_err(|why| {
            // serde repeats what it did not expect, and that may be the token.
            garbage(format!(
                "the answer cannot be read: {}",
                redact(&why.to_string(), &[])
            ))
        })
    }
}

/// Serialises a body.
///
/// # Errors
/// `Garbage`; the wire types cannot fail to serialise, so nobody will see it.
pub(super) fn to_json<T: Serialize>(body: &T) -> Result<Vec<u8>, CallFailure> {
    serde_json::to_vec(body).map_err(|_| garbage("the request cannot be written as JSON".to_owned()))
}

fn base(url: &str, allow_http: bool) -> Result<Url, ConfigError> {
    let url: Url = url
        .trim()
        .parse()
        .map_err(|why| ConfigError::Url(format!("{why}")))?;
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

fn bearer(token: &Token) -> Result<HeaderValue, CallFailure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        failure(
            CallFailureKind::NoCredentials,
            "the stored token cannot stand in a header".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer in pieces and stops at the limit. A body in another encoding is not read at all: the agent
/// asked for none, and a small body may unpack into a large one.
async fn read(mut response: Response) -> Result<Answer, CallFailure> {
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(garbage(format!(
            "{} in the encoding {}, which was not asked for",
            status.as_u16(),
            shown(&headers, CONTENT_ENCODING)
        )));
    }
    let too_large = || {
        garbage(format!(
            "{} with more than {ANSWER_MAX_BYTES} bytes",
            status.as_u16()
        ))
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > ANSWER_MAX_BYTES as u64 {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(call_failure::unreachable)? {
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

/// A header for a message: printable, short, quoted.
fn shown(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers
        .get(name)
        .map_or("(none)", |value| value.to_str().unwrap_or("(unreadable)"));
    format!("`{}`", one_line(value, &[], 80))
}
