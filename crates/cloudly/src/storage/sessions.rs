//! Sessions: who speaks with a node token, and what that node is to be told.

use super::columns::{from_json, unsigned};
use super::database::{Connection, Result, Storage};
use super::node_lifecycle::Lifecycle;
use super::node_session::{NodeSession, Wanted};
use super::nodes::parse_approval;
use super::session_cache::Lookup;
use super::targets::ALL;
use crate::clock::timestamp;
use baseos_interfaces::desired::Policy;
use sqlx::Row as _;
use std::sync::Arc;

impl Storage {
    /// Finds a session by the token's public id; in memory, unless something was changed since it was last asked for.
    pub(crate) async fn session(&self, token_id: &str) -> Result<Option<Arc<NodeSession>>> {
        let reading = match self.sessions().look_up(token_id) {
            Lookup::Kept(session) => {
                self.metrics.session_hits.inc();
                return Ok(Some(session));
            }
            Lookup::Missing(reading) => reading,
        };
        self.metrics.session_misses.inc();
        let found = session(&mut *self.read().await?, token_id).await?;
        Ok(found.map(|session| self.sessions().keep(reading, session)))
    }

    /// Whether nothing has changed since this session was found.
    pub(crate) fn is_present(&self, session: &Arc<NodeSession>) -> bool {
        match self.sessions().look_up(&session.token_id) {
            Lookup::Kept(kept) => Arc::ptr_eq(&kept, session),
            Lookup::Missing(_) => false,
        }
    }
}

/// In one statement, so that it is of one moment.
async fn session(c: &mut Connection, token_id: &str) -> Result<Option<NodeSession>> {
    let row = sqlx::query(
        "SELECT t.mac, t.slot, t.command_id, t.first_used_at, r.id AS replacement, n.id, n.approval, n.approval_decided_at, n.lifecycle,
             n.clone_suspected_at, n.desired_floor, s.status_hash, s.update_state, s.target_commit, s.running_commit,
             COALESCE(own.revision, every.revision, 0) AS target_revision,
             CASE WHEN own.scope IS NULL THEN every.commit_id ELSE own.commit_id END AS wanted_commit,
             CASE WHEN own.scope IS NULL THEN every.policy ELSE own.policy END AS wanted_policy,
             (SELECT MAX(expires_at) FROM commands WHERE node_id = n.id AND result IS NULL) AS commands_until
         FROM node_tokens t LEFT JOIN replacements r ON r.id = t.node_id
             JOIN nodes n ON n.id = COALESCE(r.node_id, t.node_id) LEFT JOIN node_status s ON s.node_id = n.id
             LEFT JOIN desired own ON own.scope = n.id LEFT JOIN desired every ON every.scope = $2
         WHERE t.id = $1",
    )
    .bind(token_id)
    .bind(ALL)
    .fetch_optional(c)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let policy: Option<Policy> = row
        .try_get::<Option<&str>, _>("wanted_policy")?
        .map(from_json)
        .transpose()?;
    let state: Option<&str> = row.try_get("update_state")?;
    Ok(Some(NodeSession {
        token_mac: row.try_get("mac")?,
        token_id: token_id.to_owned(),
        token_is_next: row.try_get::<&str, _>("slot")? == "next",
        token_command: row.try_get("command_id")?,
        token_used: row.try_get::<Option<i64>, _>("first_used_at")?.is_some(),
        node_id: row.try_get("id")?,
        replacement: row.try_get("replacement")?,
        approval: parse_approval(row.try_get("approval")?),
        approval_decided: row.try_get::<Option<i64>, _>("approval_decided_at")?.is_some(),
        lifecycle: Lifecycle::parse(row.try_get("lifecycle")?),
        clone_suspected: row.try_get::<Option<i64>, _>("clone_suspected_at")?.is_some(),
        desired_floor: unsigned(&row, "desired_floor")?,
        status_hash: row.try_get("status_hash")?,
        update_state: state
            .and_then(|state| serde_json::from_value(serde_json::Value::from(state)).ok())
            .unwrap_or_default(),
        target_commit: row.try_get("target_commit")?,
        running_commit: row.try_get("running_commit")?,
        wanted: Wanted {
            target_revision: unsigned(&row, "target_revision")?,
            commit: row.try_get("wanted_commit")?,
            force_until: policy.and_then(|policy| policy.force?.expires_at),
            commands_until: row.try_get::<Option<i64>, _>("commands_until")?.map(timestamp),
        },
    }))
}
