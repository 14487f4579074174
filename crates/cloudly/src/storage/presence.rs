//! Presence, as the cache in memory wrote it last.

use super::columns::{from_json, signed, to_json, unsigned};
use super::database::{Connection, Result};
use crate::clock::{millis, timestamp};
use crate::presence::judge::Presence;
use sqlx::{QueryBuilder, Row as _, Sqlite};

/// Rows in one statement; SQLite allows 32,766 parameters.
const BATCH: usize = 1000;

pub(crate) async fn load(c: &mut Connection) -> Result<Vec<(String, Presence)>> {
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

pub(crate) async fn save(c: &mut Connection, dirty: &[(String, Presence)]) -> Result<()> {
    for batch in dirty.chunks(BATCH) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO node_presence (node_id, last_seen_at, next_due_at, interval_seconds, goodbye, runs,
                 observed, skew_since, skew_seconds) ",
        );
        let with_runs = batch
            .iter()
            .map(|(node, presence)| Ok((node, presence, to_json(&presence.runs)?)))
            .collect::<Result<Vec<_>>>()?;
        query.push_values(with_runs, |mut row, (node, presence, runs)| {
            row.push_bind(node)
                .push_bind(millis(presence.last_seen_at))
                .push_bind(millis(presence.next_due_at))
                .push_bind(i64::from(presence.interval_seconds))
                .push_bind(i64::from(presence.goodbye))
                .push_bind(runs)
                .push_bind(signed(presence.observed))
                .push_bind(presence.skew_since.map(millis))
                .push_bind(presence.skew_seconds);
        });
        query.push(
            " ON CONFLICT (node_id) DO UPDATE SET last_seen_at = excluded.last_seen_at,
                 next_due_at = excluded.next_due_at, interval_seconds = excluded.interval_seconds,
                 goodbye = excluded.goodbye, runs = excluded.runs,
                 observed = excluded.observed, skew_since = excluded.skew_since,
                 skew_seconds = excluded.skew_seconds",
        );
        query.build().persistent(false).execute(&mut *c).await?;
    }
    Ok(())
}
