//! Presence, as the cache in memory wrote it last.

use super::columns::{from_json, signed, to_json, unsigned};
use super::database::{Connection, Result, Storage};
use crate::clock::{millis, timestamp};
use crate::presence::judge::Presence;
use sqlx::Row as _;

/// Rows in one statement; SQLite allows 32,766 parameters.
const BATCH: usize = 1000;
const COLUMNS: usize = 9;
const INSERT: &str =
    "INSERT INTO node_presence (node_id, last_seen_at, next_due_at, interval_seconds, goodbye, runs,
         observed, skew_since, skew_seconds) VALUES ";
const UPDATE: &str = " ON CONFLICT (node_id) DO UPDATE SET last_seen_at = excluded.last_seen_at,
         next_due_at = excluded.next_due_at, interval_seconds = excluded.interval_seconds,
         goodbye = excluded.goodbye, runs = excluded.runs, observed = excluded.observed,
         skew_since = excluded.skew_since, skew_seconds = excluded.skew_seconds";

impl Storage {
    pub(crate) async fn presence(&self) -> Result<Vec<(String, Presence)>> {
        load(&mut *self.read().await?).await
    }

    /// `dirty` is in the order of the ids, so that no two writers wait for each other.
    pub(crate) async fn save_presence(&self, dirty: &[(String, Presence)]) -> Result<()> {
        let mut tx = self.write_presence().await?;
        save(&mut tx, dirty).await?;
        tx.commit().await
    }
}

async fn load(c: &mut Connection) -> Result<Vec<(String, Presence)>> {
    let rows = sqlx::query("SELECT * FROM node_presence").fetch_all(c).await?;
    rows.iter()
        .map(|row| {
            let presence = Presence {
                last_seen_at: timestamp(row.try_get("last_seen_at")?),
                next_due_at: timestamp(row.try_get("next_due_at")?),
                interval_seconds: u32::try_from(unsigned(row, "interval_seconds")?).unwrap_or(u32::MAX),
                goodbye: row.try_get::<i64, _>("goodbye")? != 0,
                runs: from_json(row.try_get("runs")?)?,
                observed: unsigned(row, "observed")?,
                skew_since: row.try_get::<Option<i64>, _>("skew_since")?.map(timestamp),
                skew_seconds: row.try_get("skew_seconds")?,
            };
            Ok((row.try_get("node_id")?, presence))
        })
        .collect()
}

async fn save(c: &mut Connection, dirty: &[(String, Presence)]) -> Result<()> {
    for batch in dirty.chunks(BATCH) {
        // Of constants and numbers, so the statement is safe.
        let rows: Vec<_> = (0..batch.len()).map(placeholders).collect();
        let sql = sqlx::AssertSqlSafe(format!("{INSERT}{}{UPDATE}", rows.join(", ")));
        let mut query = sqlx::query(sql);
        for (node, presence) in batch {
            query = query
                .bind(node)
                .bind(millis(presence.last_seen_at))
                .bind(millis(presence.next_due_at))
                .bind(i64::from(presence.interval_seconds))
                .bind(i64::from(presence.goodbye))
                .bind(to_json(&presence.runs)?)
                .bind(signed(presence.observed))
                .bind(presence.skew_since.map(millis))
                .bind(presence.skew_seconds);
        }
        query.persistent(false).execute(&mut *c).await?;
    }
    Ok(())
}

/// `($10, …, $18)` for the row with index 1.
fn placeholders(row: usize) -> String {
    let numbers: Vec<_> = (1..=COLUMNS)
        .map(|column| format!("${}", row * COLUMNS + column))
        .collect();
    format!("({})", numbers.join(", "))
}
