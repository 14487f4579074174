//! The calls of contract §6.

use super::answer::{Refusal, field, from_machine, invalid};
use super::body::{self, DEFER, JOIN, LOCK};
use super::guard::{Guards, HEALTH_PATH, guard};
use super::notices::Notices;
use super::pending::Pending;
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::facts::JoinOffer;
use crate::vault::Vault;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use baseos_interfaces::codes::{FieldCode, ProblemCode};
use baseos_interfaces::local::JoinRequest;
use baseos_interfaces::problem::Problem;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenKind};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Creates a new registration id.
pub type NewRegistrationId = Arc<dyn Fn() -> RegistrationId + Send + Sync>;

/// Shared state of the handlers.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) pending: Arc<Pending>,
    pub(super) notices: Arc<Notices>,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) new_registration_id: NewRegistrationId,
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) stop: CancellationToken,
}

type Answer = Result<Response, Refusal>;

/// All routes, behind the guards.
pub(super) fn router(api: Api, guards: Arc<Guards>) -> Router {
    Router::new()
        .route(HEALTH_PATH, get(async || Json(json!({ "status": "ok" }))))
        .route(
            "/v1/handshake",
            get(async |State(api): State<Api>| api.ask(LocalCall::Handshake).await),
        )
        .route(
            "/v1/status",
            get(async |State(api): State<Api>| api.ask(LocalCall::Status).await),
        )
        .route(
            "/v1/update/check",
            post(async |State(api): State<Api>| api.ask(LocalCall::Check).await),
        )
        .route(
            "/v1/update/approve",
            post(async |State(api): State<Api>| api.ask(LocalCall::Approve).await),
        )
        .route("/v1/update/defer", post(defer))
        .route(
            "/v1/locks",
            get(async |State(api): State<Api>| api.ask(LocalCall::Locks).await),
        )
        .route("/v1/locks/{name}", put(lock).delete(unlock))
        .route("/v1/events", get(events))
        .route(
            "/v1/doctor",
            get(async |State(api): State<Api>| api.ask(LocalCall::Doctor).await),
        )
        .route("/v1/join", post(join))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(guards, guard))
        .with_state(api)
}

impl Api {
    async fn ask(&self, call: LocalCall) -> Answer {
        Ok(from_machine(self.pending.ask(call).await?))
    }
}

async fn defer(State(api): State<Api>, request: Request) -> Answer {
    api.ask(LocalCall::Defer(body::read(request, DEFER).await?)).await
}

async fn lock(
    State(api): State<Api>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let name = lock_name(name)?;
    let request = body::read(request, LOCK).await?;
    api.ask(LocalCall::Lock {
        name,
        owner: owner(&headers),
        request,
    })
    .await
}

async fn unlock(
    State(api): State<Api>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    api.ask(LocalCall::Unlock {
        name: lock_name(name)?,
        owner: owner(&headers),
    })
    .await
}

async fn events(State(api): State<Api>, headers: HeaderMap) -> Answer {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    match api.notices.listen(after, &api.stop) {
        Some(stream) => Ok(stream.into_response()),
        None => Err(Problem::new(
            503,
            ProblemCode::Unavailable,
            "Too many clients listen to events already.",
        )
        .retry_after(Some(30))
        .into()),
    }
}

/// Stores the secret in the vault; the machine gets only the token's public id.
async fn join(State(api): State<Api>, request: Request) -> Answer {
    let request: JoinRequest = body::read(request, JOIN).await?;
    let token = Token::parse(TokenKind::Join, request.join_token.expose()).map_err(|error| {
        invalid(
            format!("{error}."),
            vec![field("/joinToken", FieldCode::InvalidValue)],
        )
    })?;
    let id = token.id().clone();
    let vault = api.vault.clone();
    // The vault fsyncs, which may take long on flash, so it must not block the loop's thread.
    let stored = tokio::task::spawn_blocking(move || vault.offer_join_token(&token)).await;
    if let Err(error) = stored
        .map_err(|e| e.to_string())
        .and_then(|r| r.map_err(|e| e.to_string()))
    {
        tracing::error!(error, "cannot keep the join token that was offered");
        let problem = Problem::new(503, ProblemCode::Unavailable, "The join token cannot be kept.");
        return Err(problem.detail(error).retry_after(Some(30)).into());
    }
    api.ask(LocalCall::Join(JoinOffer {
        token: Ok(id),
        registration_id: (api.new_registration_id)(),
        replace: request.replace,
    }))
    .await
}

async fn metrics(State(api): State<Api>) -> Response {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], (api.metrics)()).into_response()
}

async fn not_found() -> Refusal {
    Problem::new(404, ProblemCode::NotFound, "There is no such call.").into()
}

async fn method_not_allowed() -> Refusal {
    Problem::new(
        405,
        ProblemCode::MethodNotAllowed,
        "This call has another method; the header Allow names it.",
    )
    .into()
}

fn lock_name(name: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    match name {
        Ok(Path(name)) if (1..=64).contains(&name.len()) && name.bytes().all(allowed) => Ok(name),
        _ => Err(invalid(
            "A lock's name has 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`.",
            vec![field("/name", FieldCode::NotAName)],
        )),
    }
}

/// The owner of a lock, for display: the product name of the client's `User-Agent`, up to `/`. It is not
/// authenticated, because there is one token for all clients.
fn owner(headers: &HeaderMap) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let product = agent.split(['/', ' ']).next().unwrap_or_default();
    let name: String = product
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(*c))
        .take(32)
        .collect();
    if name.is_empty() { "local".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_the_product_of_the_user_agent() {
        let named = |agent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().unwrap());
            owner(&headers)
        };
        assert_eq!(named("Onebox/1.2 (linux)"), "onebox");
        assert_eq!(named("one box"), "one");
        assert_eq!(named("\"{}\""), "local");
        assert_eq!(named(&"x".repeat(100)), "x".repeat(32));
        assert_eq!(owner(&HeaderMap::new()), "local");
    }
}
