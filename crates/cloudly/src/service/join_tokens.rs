//! Join tokens: what new nodes enrol with.

use super::app::App;
use super::error::{Error, Result};
use super::page::PageRequest;
use super::validate;
use crate::auth::operators::Operator;
use crate::auth::tokens;
use crate::clock::after;
use crate::storage::audit::AuditLine;
use crate::storage::database;
use crate::storage::join_tokens::{JoinToken, Revoked};
use baseos_interfaces::admin::{CreateJoinToken, CreatedJoinToken, JoinTokenRecord, Page};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde_json::json;

const MAX_USES: u32 = 100_000;
/// How long `baseosJoinToken` is good for, from the first start that saw it, seconds.
const CONFIGURED_TTL_SECONDS: i64 = 24 * 3600;

pub(crate) async fn create(
    app: &App,
    operator: &Operator,
    request: CreateJoinToken,
) -> Result<CreatedJoinToken> {
    let max_uses = request.max_uses.unwrap_or(1);
    if !(1..=MAX_USES).contains(&max_uses) {
        let message = format!("maxUses is 1 to {MAX_USES}");
        return Err(Error::field("/maxUses", FieldCode::OutOfRange, message));
    }
    let ttl = validate::ttl(request.ttl_seconds)?;
    validate::labels(&request.labels)?;
    let fleet = request
        .fleet
        .map(|fleet| fleet.strip_prefix("flt_").map(str::to_owned).unwrap_or(fleet));
    if let Some(fleet) = &fleet {
        validate::text("/fleet", fleet, 1, 64)?;
    }
    let now = app.clock.now();
    let token = tokens::mint(TokenKind::Join)?;
    let stored = JoinToken {
        id: token.id().to_string(),
        mac: app.pepper.mac(&token),
        max_uses,
        uses: 0,
        fleet,
        labels: request.labels,
        require_approval: request.require_approval,
        allow_replace: request.allow_replace,
        created_at: now,
        created_by: operator.id.clone(),
        expires_at: after(now, ttl.into()),
        revoked_at: None,
    };
    let data = json!({ "maxUses": max_uses, "expiresAt": stored.expires_at, "fleet": stored.fleet,
        "requireApproval": stored.require_approval, "allowReplace": stored.allow_replace });
    let line = AuditLine::new(&operator.id, "joinToken.created", Some(&stored.id), data);
    app.storage.create_join_token(&stored, line).await?;
    Ok(CreatedJoinToken {
        id: stored.id,
        token: WireSecret::from(&token),
        expires_at: stored.expires_at,
        max_uses,
    })
}

pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<JoinTokenRecord>> {
    // So that the list shows what a registration would find.
    give_back_uses(app).await?;
    let rows = app.storage.join_tokens(request.after(), request.limit()).await?;
    let rows = rows.into_iter().map(JoinToken::into_record).collect();
    Ok(request.page(rows, |row| row.id.clone()))
}

/// Revoking a token twice changes nothing.
pub(crate) async fn revoke(app: &App, operator: &Operator, id: &str) -> Result<()> {
    let line = AuditLine::new(&operator.id, "joinToken.revoked", Some(id), json!({}));
    match app.storage.revoke_join_token(id, app.clock.now(), line).await? {
        Revoked::Now | Revoked::Before => Ok(()),
        Revoked::Unknown => Err(Error::NotFound {
            noun: "join token",
            id: id.to_owned(),
        }),
    }
}

/// Gives back uses that no heartbeat confirmed in time, and returns how many.
pub(crate) async fn give_back_uses(app: &App) -> database::Result<u64> {
    let given_back = app.storage.give_back_uses(app.clock.now()).await?;
    if given_back > 0 {
        tracing::info!(given_back, "join-token uses were given back");
    }
    Ok(given_back)
}

/// Stores `baseosJoinToken` at the first start that sees it.
pub(crate) async fn import_configured(app: &App, token: &Token) -> database::Result<()> {
    let now = app.clock.now();
    let stored = JoinToken {
        id: token.id().to_string(),
        mac: app.pepper.mac(token),
        max_uses: app.settings.baseos_join_token_uses.max(1),
        uses: 0,
        fleet: None,
        labels: Default::default(),
        require_approval: false,
        allow_replace: false,
        created_at: now,
        created_by: "configuration".to_owned(),
        expires_at: after(now, CONFIGURED_TTL_SECONDS),
        revoked_at: None,
    };
    let data = json!({ "maxUses": stored.max_uses, "expiresAt": stored.expires_at });
    let line = AuditLine::new("configuration", "joinToken.created", Some(&stored.id), data);
    if app.storage.create_join_token(&stored, line).await? {
        tracing::info!(token = stored.id, expires_at = %stored.expires_at, uses = stored.max_uses, "baseosJoinToken was imported");
    } else if let Some(known) = app.storage.join_token(&stored.id).await?
        && known.expires_at <= now
    {
        tracing::warn!(token = known.id, expired_at = %known.expires_at, "baseosJoinToken has expired and enrols nobody; configure a new one or none");
    }
    Ok(())
}
