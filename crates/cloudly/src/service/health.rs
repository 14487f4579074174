//! Whether this server can do its work.

use super::app::App;
use super::error::Result;

/// Takes the lock on the database again if it was lost.
pub(crate) async fn keep_database(app: &App) {
    // It is logged, and `check` says it too.
    let _ = app.storage.keep().await;
}

/// Fails when the database cannot be read or written.
pub(crate) async fn check(app: &App) -> Result<()> {
    Ok(app.storage.check().await?)
}
