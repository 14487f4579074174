//! What the server does on its own: write presence to the database, keep other servers away from it, audit
//! refusals, give back join-token uses, and delete what is old.

use crate::clock::after;
use crate::service::app::App;
use crate::service::{health, join_tokens, presence, refusals, retention};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How long presence may be in memory alone. What a crash loses is replaced by the next heartbeats.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSHES_PER_SWEEP: u32 = 60;
const FLUSHES_PER_LOOK: u32 = 10;
/// By the server's clock, which may be moved while the server runs.
const PRUNE_EVERY_SECONDS: i64 = 3600;

/// Runs until the sender of `stop` is dropped, and ends between two flushes.
pub(crate) async fn run(app: Arc<App>, mut stop: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_sweep = FLUSHES_PER_SWEEP;
    let mut next_prune = app.clock.now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        presence::flush(&app).await;
        if until_sweep.is_multiple_of(FLUSHES_PER_LOOK) {
            health::keep_database(&app).await;
        }
        let now = app.clock.now();
        let soonest = after(now, PRUNE_EVERY_SECONDS);
        if next_prune <= now || soonest < next_prune {
            next_prune = soonest;
            if let Err(error) = retention::prune(&app).await {
                tracing::warn!(%error, "what is old could not be deleted; the next hour tries again");
            }
        }
        until_sweep -= 1;
        if until_sweep == 0 {
            until_sweep = FLUSHES_PER_SWEEP;
            if let Err(error) = refusals::write(&app).await {
                tracing::warn!(%error, "refusals could not be audited; the next sweep tries again");
            }
            if let Err(error) = join_tokens::give_back_uses(&app).await {
                tracing::warn!(%error, "join-token uses could not be given back");
            }
        }
    }
}
