//! The audit log of everything that operators, nodes and Cloudly change.

use super::app::App;
use super::error::Result;
use super::page::PageRequest;
use super::refusals;
use baseos_interfaces::admin::{AuditRecord, Page};

pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<AuditRecord>> {
    refusals::write(app).await?;
    let rows = app
        .storage
        .audit_lines(request.before()?, request.limit())
        .await?;
    Ok(request.page(rows, |row| row.sequence.to_string()))
}
