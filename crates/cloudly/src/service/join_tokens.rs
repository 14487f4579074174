//! Join tokens: what new nodes enrol with.

use super::app::App;
use super::error::{Error, Result};
use super::page::PageRequest;
use super::{audit, validate};
use crate::auth::operators::Operator;
use crate::auth::tokens;
use crate::clock::after;
use crate::storage::database;
use crate::storage::join_tokens::JoinToken;
use crate::storage::{join_token_uses, join_tokens};
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
    let mut tx = app.storage.write().await?;
    join_tokens::insert(&mut tx, &stored).await?;
    let data = json!({ "maxUses": max_uses, "expiresAt": stored.expires_at, "fleet": stored.fleet,
        "requireApproval": stored.require_approval, "allowReplace": stored.allow_replace });
    let subject = Some(stored.id.as_str());
    audit::record(app, &mut tx, &operator.id, "joinToken.created", subject, data).await?;
    tx.commit().await?;
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
    let mut connection = app.storage.read().await?;
    let rows = join_tokens::list(&mut connection, request.after(), request.limit()).await?;
    let rows = rows.into_iter().map(JoinToken::into_record).collect();
    Ok(request.page(rows, |row| row.id.clone()))
}

/// Revoking a token twice changes nothing.
pub(crate) async fn revoke(app: &App, operator: &Operator, id: &str) -> Result<()> {
    let mut tx = app.storage.write().await?;
    if join_tokens::find(&mut tx, id).await?.is_none() {
        return Err(Error::NotFound {
            noun: "join token",
            id: id.to_owned(),
        });
    }
    if join_tokens::revoke(&mut tx, id, app.clock.now()).await? {
        audit::record(
            app,
            &mut tx,
            &operator.id,
            "joinToken.revoked",
            Some(id),
            json!({}),
        )
        .await?;
    }
    Ok(tx.commit().await?)
}

/// Gives back uses that no heartbeat confirmed in time.
pub(crate) async fn give_back_uses(app: &App) -> database::Result<()> {
    let now = app.clock.now();
    if !join_token_uses::are_overdue(&mut *app.storage.read().await?, now).await? {
        return Ok(());
    }
    let mut tx = app.storage.write().await?;
    let given_back = join_token_uses::give_back(&mut tx, now).await?;
    if given_back > 0 {
        tracing::info!(given_back, "join-token uses were given back");
    }
    tx.commit().await
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
    let mut tx = app.storage.write().await?;
    if join_tokens::insert(&mut tx, &stored).await? {
        let data = json!({ "maxUses": stored.max_uses, "expiresAt": stored.expires_at });
        let subject = Some(stored.id.as_str());
        audit::record(app, &mut tx, "configuration", "joinToken.created", subject, data).await?;
        tracing::info!(token = stored.id, expires_at = %stored.expires_at, uses = stored.max_uses, "baseosJoinToken was imported");
    } else if let Some(known) = join_tokens::find(&mut tx, &stored.id).await?
        && known.expires_at <= now
    {
        tracing::warn!(token = known.id, expired_at = %known.expires_at, "baseosJoinToken has expired and enrols nobody; configure a new one or none");
    }
    tx.commit().await
}
