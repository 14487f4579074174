//! Events that nodes report; append-only.

use super::columns::{from_json, to_json, unsigned};
use super::database::{Connection, Result, Storage};
use super::nodes;
use crate::clock::{millis, timestamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::EventRecord;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::heartbeat::NodeEvent;
use sqlx::Row as _;

impl Storage {
    /// A node's events, newest first, with sequence numbers below `before`; `None`: there is no such node.
    pub(crate) async fn events(
        &self,
        node: &str,
        before: i64,
        limit: i64,
    ) -> Result<Option<Vec<EventRecord>>> {
        let mut connection = self.read().await?;
        if nodes::known(&mut connection, node).await?.is_none() {
            return Ok(None);
        }
        list(&mut connection, node, before, limit).await.map(Some)
    }
}

/// Appends an event, unless the node reported one with this id before.
pub(super) async fn append(c: &mut Connection, node: &str, event: &NodeEvent, now: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO events (node_id, event_id, received_at, at, kind, data) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (node_id, event_id) DO NOTHING",
    )
    .bind(node)
    .bind(&event.id)
    .bind(millis(now))
    .bind(millis(event.at))
    .bind(event.kind.as_str())
    .bind(to_json(&event.data)?)
    .execute(c)
    .await?;
    Ok(())
}

async fn list(c: &mut Connection, node: &str, before: i64, limit: i64) -> Result<Vec<EventRecord>> {
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
                    kind: EventKind::from(row.try_get::<&str, _>("kind")?),
                    data: from_json(row.try_get("data")?)?,
                },
            })
        })
        .collect()
}
