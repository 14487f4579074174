//! Refusals, which are counted in memory and written to the audit log together.

use super::app::App;
use crate::auth::refusals::{Counted, Kind};
use crate::storage::audit::AuditLine;
use crate::storage::database::Result;
use baseos_interfaces::Timestamp;
use serde_json::{Value, json};

/// Says it in the log at once, and counts it for the audit log.
pub(super) fn count(app: &App, kind: Kind, mut data: Value) {
    data["reason"] = json!(kind.reason);
    tracing::info!(action = kind.action, subject = kind.subject, %data, "refused");
    app.refusals.count(kind, data, app.clock.now());
}

/// Writes what is due. A crash loses what was counted since the last time.
pub(crate) async fn write(app: &App) -> Result<()> {
    let due = app.refusals.take_due(app.clock.now());
    if due.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = due.iter().map(line).collect();
    let written = app.storage.note(&lines).await;
    if written.is_err() {
        app.refusals.put_back(due);
    }
    written
}

/// Of the last refusal, with how many there were.
fn line(counted: &Counted) -> (Timestamp, AuditLine) {
    let Counted {
        kind,
        count,
        at,
        data,
    } = counted;
    let mut data = data.clone();
    data["reason"] = json!(kind.reason);
    data["count"] = json!(count);
    let line = AuditLine::new("cloudly", kind.action, kind.subject.as_deref(), data);
    (*at, line)
}
