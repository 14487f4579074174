//! Events that nodes report.

use super::app::App;
use super::error::Result;
use super::nodes::not_found;
use super::page::PageRequest;
use baseos_interfaces::admin::{EventRecord, Page};

/// A node's events, newest first.
pub(crate) async fn list(app: &App, node: &str, request: &PageRequest) -> Result<Page<EventRecord>> {
    let rows = app
        .storage
        .events(node, request.before()?, request.limit())
        .await?;
    let rows = rows.ok_or_else(|| not_found(node))?;
    Ok(request.page(rows, |row| row.sequence.to_string()))
}
