//! Presence between memory and database.

use super::app::App;
use crate::presence::cache::PresenceCache;
use crate::storage::database::{Result, Storage};

/// As it was last written.
pub(crate) async fn load(storage: &Storage) -> Result<PresenceCache> {
    Ok(PresenceCache::new(storage.presence().await?))
}

/// Writes what changed since the last flush. What cannot be written is kept for the next one.
pub(crate) async fn flush(app: &App) {
    let dirty = app.presence.take_dirty();
    if dirty.is_empty() {
        return;
    }
    if let Err(error) = app.storage.save_presence(&dirty).await {
        tracing::warn!(%error, nodes = dirty.len(), "presence could not be written; the next flush tries again");
        app.presence.mark_dirty(&dirty);
    }
}
