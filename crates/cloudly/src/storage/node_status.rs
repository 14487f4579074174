//! The last full status of each node.

use super::columns::{text, to_json};
use super::database::{Connection, Result};
use crate::clock::millis;
use baseos_interfaces::Timestamp;
use baseos_interfaces::states::RolloutState;
use baseos_interfaces::status::NodeStatus;

pub(super) async fn put(
    c: &mut Connection,
    node: &str,
    hash: &str,
    status: &NodeStatus,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO node_status (node_id, received_at, status_hash, status, update_state, rollout_state,
             target_commit, running_commit)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (node_id) DO UPDATE SET received_at = excluded.received_at,
             status_hash = excluded.status_hash, status = excluded.status, update_state = excluded.update_state,
             rollout_state = excluded.rollout_state, target_commit = excluded.target_commit,
             running_commit = excluded.running_commit",
    )
    .bind(node)
    .bind(millis(now))
    .bind(hash)
    .bind(to_json(status)?)
    .bind(status.update.state.as_str())
    .bind(RolloutState::from_update(status.update.state).map(RolloutState::as_str))
    .bind(status.update.target.as_deref().map(text))
    .bind(status.running().map(text))
    .execute(c)
    .await?;
    Ok(())
}
