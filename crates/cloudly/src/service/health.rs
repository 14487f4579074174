//! Whether this server can do its work.

use super::app::App;
use super::error::Result;

/// Fails when the database cannot be read.
pub(crate) async fn check(app: &App) -> Result<()> {
    drop(app.storage.read().await?);
    Ok(())
}
