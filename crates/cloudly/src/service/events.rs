//! Events that nodes report.

use super::app::App;
use super::error::Result;
use super::nodes;
use super::page::PageRequest;
use crate::storage;
use baseos_interfaces::admin::{EventRecord, Page};

/// A node's events, newest first.
pub(crate) async fn list(app: &App, node: &str, request: &PageRequest) -> Result<Page<EventRecord>> {
    let mut connection = app.storage.read().await?;
    nodes::find(&mut connection, node).await?;
    let rows = storage::events::list(&mut connection, node, request.before()?, request.limit()).await?;
    Ok(request.page(rows, |row| row.sequence.to_string()))
}
