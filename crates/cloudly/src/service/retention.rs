//! Retention: what devices leave behind does not grow without bounds.

use super::app::App;
use crate::storage::database::Result;
use crate::storage::retention::Pruned;

/// Batches of a run: after a long time off the rest has to wait for the next one.
const BATCHES: u32 = 200;

/// Deletes what is due.
pub(crate) async fn prune(app: &App) -> Result<()> {
    for _ in 0..BATCHES {
        let pruned = app.storage.prune(app.clock.now()).await?;
        if pruned.is_empty() {
            break;
        }
        app.presence.forget(&pruned.nodes);
        let Pruned {
            events,
            commands,
            audit_lines,
            join_tokens,
            nodes,
        } = pruned;
        let nodes = nodes.len();
        tracing::info!(
            events,
            commands,
            audit_lines,
            join_tokens,
            nodes,
            "deleted what was old"
        );
    }
    Ok(())
}
