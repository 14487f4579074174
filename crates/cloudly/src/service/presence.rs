//! Presence between memory and database.

use super::app::App;
use crate::presence::cache::PresenceCache;
use crate::storage::database::{Result, Storage};
use crate::storage::presence;

/// As it was last written.
pub(crate) async fn load(storage: &Storage) -> Result<PresenceCache> {
    let mut connection = storage.read().await?;
    Ok(PresenceCache::new(presence::load(&mut connection).await?))
}

/// Writes what changed since the last flush. What cannot be written is kept for the next one.
pub(crate) async fn flush(app: &App) {
    let dirty = app.presence.take_dirty();
    if dirty.is_empty() {
        return;
    }
    let written = async {
        let mut tx = app.storage.write().await?;
        presence::save(&mut tx, &dirty).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, nodes = dirty.len(), "presence could not be written; the next flush tries again");
        app.presence.mark_dirty(&dirty);
    }
}
