//! The audit log of everything that operators, nodes and Cloudly change.

use super::app::App;
use super::error::Result;
use super::page::PageRequest;
use crate::storage::{self, database};
use baseos_interfaces::admin::{AuditRecord, Page};
use serde_json::Value;

/// Appends a line in the transaction of the change that it is about. `actor`: an admin token's id, a node's id,
/// `cloudly` or `configuration`. `data` never holds a secret.
pub(super) async fn record(
    app: &App,
    c: &mut database::Connection,
    actor: &str,
    action: &str,
    subject: Option<&str>,
    data: Value,
) -> database::Result<()> {
    tracing::info!(actor, action, subject, %data, "audit");
    storage::audit::append(c, app.clock.now(), actor, action, subject, &data).await
}

pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<AuditRecord>> {
    let mut connection = app.storage.read().await?;
    let rows = storage::audit::list(&mut connection, request.before()?, request.limit()).await?;
    Ok(request.page(rows, |row| row.sequence.to_string()))
}
