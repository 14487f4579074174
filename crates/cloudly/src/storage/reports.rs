//! What nodes report: presence (hot), status (on change) and events (append-only).

use super::{Connection, Result, from_json, signed, to_json, unsigned};
use crate::clock::{millis, timestamp};
use crate::presence::Promise;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::EventRecord;
use baseos_interfaces::heartbeat::NodeEvent;
use baseos_interfaces::states::RolloutState;
use baseos_interfaces::status::NodeStatus;
use sqlx::{QueryBuilder, Row as _, Sqlite};

/// Rows in one presence statement: far below the number of parameters a statement may have.
const BATCH: usize = 1000;

/// All presence, as it was last written.
pub(crate) async fn load_presence(c: &mut Connection) -> Result<Vec<(String, Promise)>> {
    let rows = sqlx::query("SELECT * FROM node_presence").fetch_all(c).await?;
    rows.iter()
        .map(|row| {
            let promise = Promise {
                last_seen_at: timestamp(row.try_get("last_seen_at")?),
                next_due_at: timestamp(row.try_get("next_due_at")?),
                interval_seconds: u32::try_from(unsigned(row, "interval_seconds")?).unwrap_or(u32::MAX),
                goodbye: row.try_get::<i64, _>("goodbye")? != 0,
                run_id: row.try_get("run_id")?,
                sequence: unsigned(row, "sequence")?,
                previous_run_id: row.try_get("previous_run_id")?,
                run_returns: u32::try_from(unsigned(row, "run_returns")?).unwrap_or(0),
                observed: unsigned(row, "observed")?,
                skew_since: row.try_get::<Option<i64>, _>("skew_since")?.map(timestamp),
                skew_seconds: row.try_get("skew_seconds")?,
            };
            Ok((row.try_get("node_id")?, promise))
        })
        .collect()
}

/// Writes presence, a thousand nodes a statement.
pub(crate) async fn save_presence(c: &mut Connection, dirty: &[(String, Promise)]) -> Result<()> {
    for batch in dirty.chunks(BATCH) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO node_presence (node_id, last_seen_at, next_due_at, interval_seconds, goodbye, run_id,
                 sequence, previous_run_id, run_returns, observed, skew_since, skew_seconds) ",
        );
        query.push_values(batch, |mut row, (node, promise)| {
            row.push_bind(node)
                .push_bind(millis(promise.last_seen_at))
                .push_bind(millis(promise.next_due_at))
                .push_bind(i64::from(promise.interval_seconds))
                .push_bind(i64::from(promise.goodbye))
                .push_bind(&promise.run_id)
                .push_bind(signed(promise.sequence))
                .push_bind(&promise.previous_run_id)
                .push_bind(i64::from(promise.run_returns))
                .push_bind(signed(promise.observed))
                .push_bind(promise.skew_since.map(millis))
                .push_bind(promise.skew_seconds);
        });
        query.push(
            " ON CONFLICT (node_id) DO UPDATE SET last_seen_at = excluded.last_seen_at,
                 next_due_at = excluded.next_due_at, interval_seconds = excluded.interval_seconds,
                 goodbye = excluded.goodbye, run_id = excluded.run_id, sequence = excluded.sequence,
                 previous_run_id = excluded.previous_run_id, run_returns = excluded.run_returns,
                 observed = excluded.observed, skew_since = excluded.skew_since,
                 skew_seconds = excluded.skew_seconds",
        );
        query.build().persistent(false).execute(&mut *c).await?;
    }
    Ok(())
}

/// Replaces a node's status whole.
pub(crate) async fn put_status(
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
    .bind(&status.update.target)
    .bind(&status.release.running)
    .execute(c)
    .await?;
    Ok(())
}

/// Appends a node's event; one with an id it has used before is dropped.
pub(crate) async fn add_event(
    c: &mut Connection,
    node: &str,
    event: &NodeEvent,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO events (node_id, event_id, received_at, at, kind, data) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (node_id, event_id) DO NOTHING",
    )
    .bind(node)
    .bind(&event.id)
    .bind(millis(now))
    .bind(millis(event.at))
    .bind(&event.kind)
    .bind(to_json(&event.data)?)
    .execute(c)
    .await?;
    Ok(())
}

/// A node's events, newest first, from before `before`.
pub(crate) async fn events(
    c: &mut Connection,
    node: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<EventRecord>> {
    let rows = sqlx::query(
        "SELECT * FROM events WHERE node_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
    )
    .bind(node)
    .bind(before)
    .bind(limit)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(EventRecord {
                sequence: unsigned(row, "sequence")?,
                received_at: timestamp(row.try_get("received_at")?),
                event: NodeEvent {
                    id: row.try_get("event_id")?,
                    at: timestamp(row.try_get("at")?),
                    kind: row.try_get("kind")?,
                    data: from_json(row.try_get("data")?)?,
                },
            })
        })
        .collect()
}
