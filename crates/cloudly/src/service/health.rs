//! Whether this server can do its work.

use super::app::App;
use super::error::Result;

/// Fails when the database cannot be read or written.
pub(crate) async fn check(app: &App) -> Result<()> {
    Ok(app.storage.check().await?)
}
