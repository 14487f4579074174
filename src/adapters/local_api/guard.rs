//! Checks before a request is handled, cheapest first: host, origin, token, media type, size; then a timeout.

use super::answer::{Refusal, finish};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::limits::LOCAL_MAX_BYTES;
use baseos_interfaces::problem::Problem;
use baseos_interfaces::token::Token;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Time limit of a request, including its body.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// The only call without a token: it shows that the agent runs, and nothing else.
pub(super) const HEALTH_PATH: &str = "/v1/health";

/// The values that requests are checked against.
pub(super) struct Guards {
    run: String,
    requests: AtomicU64,
    token: Token,
    hosts: Vec<String>,
}

impl Guards {
    pub(super) fn new(run: String, token: Token, allowed_hosts: Vec<String>) -> Arc<Self> {
        let own = ["localhost", "baserunner", "127.0.0.1", "[::1]"].map(str::to_owned);
        let hosts = own.into_iter().chain(allowed_hosts).collect();
        Arc::new(Self {
            run,
            requests: AtomicU64::new(0),
            token,
            hosts,
        })
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.check_host(request)?;
        check_origin(request.headers())?;
        let open =
            request.uri().path() == HEALTH_PATH && matches!(*request.method(), Method::GET | Method::HEAD);
        if !open {
            self.check_token(request.headers())?;
        }
        check_body(request.headers())
    }

    /// Prevents DNS rebinding: a browser that was sent here by a hostile name sends that name.
    fn check_host(&self, request: &Request) -> Result<(), Refusal> {
        let mut named = request.headers().get_all(header::HOST).iter();
        let host = named.next().and_then(|host| host.to_str().ok());
        let target = request.uri().authority().map(|authority| authority.as_str());
        let right = named.next().is_none()
            && host.is_some_and(|host| self.is_own_name(host))
            && target.is_none_or(|target| self.is_own_name(target));
        if right {
            return Ok(());
        }
        let problem = Problem::new(
            421,
            ProblemCode::MisdirectedRequest,
            "This is not the host the request is for.",
        );
        let right = "Send `Host: baserunner` or `Host: localhost`; further names are configured.";
        Err(problem.detail(right).into())
    }

    fn is_own_name(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        self.hosts
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name) || own.eq_ignore_ascii_case(host))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token.trim_ascii());
        // The length is not secret; equal lengths are compared in constant time.
        if given.is_some_and(|given| bool::from(given.ct_eq(self.token.expose().as_bytes()))) {
            return Ok(());
        }
        let problem = Problem::new(
            401,
            ProblemCode::LocalTokenInvalid,
            "The token is missing or not the present one.",
        );
        let right = "Send `Authorization: Bearer` and the content of the file `token` beside the socket; it is new \
                     at each start of the agent.";
        Err(problem.detail(right).into())
    }
}

/// Browsers add one of these headers to each request, and their requests are refused.
fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    // `none` too: that is a browser in which somebody opened an address, which a page may have offered.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        let problem = Problem::new(403, ProblemCode::Forbidden, "Web pages may not use this API.");
        return Err(problem
            .detail("Send neither `Origin` nor `Sec-Fetch-Site`.")
            .into());
    }
    Ok(())
}

/// Checks the headers of a body; its real size is checked while it is read.
fn check_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    let has_body = length > 0 || headers.contains_key(header::TRANSFER_ENCODING);
    if has_body && !is_json(headers) {
        return Err(not_json().into());
    }
    if usize::try_from(length).unwrap_or(usize::MAX) > LOCAL_MAX_BYTES {
        return Err(too_large().into());
    }
    Ok(())
}

/// Whether the content type is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(given)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let media_type = given.split_once(';').map_or(given, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case("application/json")
}

pub(super) fn not_json() -> Problem {
    Problem::new(
        415,
        ProblemCode::UnsupportedMediaType,
        "The body is not said to be JSON.",
    )
    .detail("Send `Content-Type: application/json`.")
}

pub(super) fn too_large() -> Problem {
    Problem::new(413, ProblemCode::PayloadTooLarge, "The body is too large.")
        .detail(format!("At most {LOCAL_MAX_BYTES} bytes are read."))
}

/// The outermost layer: checks a request and adds the request's id to the answer.
pub(super) async fn guard(State(guards): State<Arc<Guards>>, request: Request, next: Next) -> Response {
    let number = guards.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let request_id = format!("req_{}_{number}", guards.run);
    let response = match guards.check(&request) {
        Err(refusal) => {
            tracing::debug!(request_id, code = %refusal.code(), "refused a local request");
            refusal.into_response()
        }
        Ok(()) => tokio::time::timeout(REQUEST_WITHIN, next.run(request))
            .await
            .unwrap_or_else(|_| {
                let problem = Problem::new(503, ProblemCode::Unavailable, "The request took too long.");
                Refusal::from(problem.retry_after(None)).into_response()
            }),
    };
    finish(response, &request_id)
}
