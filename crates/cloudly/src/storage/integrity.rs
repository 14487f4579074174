//! Whether a database is what Cloudly makes of one. Nothing is changed.

use super::connection::{Connection, Error, Result};
use super::engine::Engine;
use crate::presence::runs::Runs;
use baseos_interfaces::codes::Capability;
use baseos_interfaces::command::{CommandAction, CommandResult};
use baseos_interfaces::desired::{Policy, Release};
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::NodeStatus;
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;

/// Something that is wrong in a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What, in the plural.
    pub what: String,
    /// Of how many.
    pub count: u64,
    /// The id of one of them, or what SQLite says.
    pub example: String,
    /// What to do about it.
    pub remedy: &'static str,
}

const RESTORE: &str = "somebody else changed the database, or it is damaged: restore the newest backup of which \
     `cloudly restore --from FILE --dry-run` says nothing wrong";
const ENROL_AGAIN: &str = "no agent can speak for it: enrol the device again, with a token of `cloudly token create --allow-replace`";
const RELEASE: &str =
    "create the release again (`cloudly release create`), or set another one (`cloudly desired set`)";
const SET_AGAIN: &str = "nodes may not follow it: set it again (`cloudly desired set`)";
const TOKENS: &str = "revoke the token (`cloudly token revoke ID`) and create another one";
const NEWER: &str = "if a newer cloudly wrote it, run that one; else restore a backup";

/// What is wrong, a statement that selects the ids of what is, and what to do.
type Check = (&'static str, &'static str, &'static str);

const CHECKS: &[Check] = &[
    (
        "node tokens of nodes that do not exist",
        "SELECT id FROM node_tokens WHERE node_id NOT IN (SELECT id FROM nodes)
             AND node_id NOT IN (SELECT id FROM replacements)",
        RESTORE,
    ),
    (
        "active nodes without a token",
        "SELECT id FROM nodes WHERE lifecycle = 'active' AND confirmed_at IS NOT NULL
             AND id NOT IN (SELECT node_id FROM node_tokens)",
        ENROL_AGAIN,
    ),
    (
        "nodes with a next token and no current one",
        "SELECT node_id AS id FROM node_tokens WHERE slot = 'next'
             AND node_id NOT IN (SELECT node_id FROM node_tokens WHERE slot = 'current')",
        RESTORE,
    ),
    (
        "hashes of tokens that are none",
        "SELECT id FROM node_tokens WHERE LENGTH(mac) <> 64
             UNION ALL SELECT id FROM join_tokens WHERE LENGTH(mac) <> 64",
        RESTORE,
    ),
    (
        "uses of join tokens that do not exist",
        "SELECT token_id AS id FROM join_uses WHERE token_id NOT IN (SELECT id FROM join_tokens)",
        RESTORE,
    ),
    (
        "join tokens whose number of uses is not that of their registrations",
        "SELECT id FROM join_tokens WHERE uses <>
             (SELECT COUNT(*) FROM join_uses WHERE token_id = join_tokens.id AND released_at IS NULL)",
        TOKENS,
    ),
    (
        "join tokens with more uses than they allow",
        "SELECT id FROM join_tokens WHERE uses > max_uses OR uses < 0",
        TOKENS,
    ),
    (
        "replacements of nodes that do not exist",
        "SELECT id FROM replacements WHERE node_id NOT IN (SELECT id FROM nodes)",
        RESTORE,
    ),
    (
        "rows about nodes that do not exist",
        "SELECT id FROM (SELECT node_id AS id FROM node_presence UNION SELECT node_id FROM node_status
             UNION SELECT node_id FROM events UNION SELECT node_id FROM commands
             UNION SELECT scope FROM desired WHERE scope <> 'all') q
             WHERE id NOT IN (SELECT id FROM nodes)",
        RESTORE,
    ),
    (
        "targets with a release that does not exist",
        "SELECT scope AS id FROM desired WHERE commit_id IS NOT NULL
             AND commit_id NOT IN (SELECT commit_id FROM releases)",
        RELEASE,
    ),
    (
        "targets with a revision that was not issued",
        "SELECT scope AS id FROM desired WHERE revision < 1
             OR revision > COALESCE((SELECT value FROM counters WHERE name = 'desired'), 0)",
        SET_AGAIN,
    ),
    (
        "targets with the revision of another one",
        "SELECT scope AS id FROM desired WHERE revision IN
             (SELECT revision FROM desired GROUP BY revision HAVING COUNT(*) > 1)",
        SET_AGAIN,
    ),
    (
        "nodes with a revision that was not issued",
        "SELECT id FROM nodes WHERE desired_floor < 0
             OR desired_floor > COALESCE((SELECT value FROM counters WHERE name = 'desired'), 0)",
        RESTORE,
    ),
    (
        "counters of revisions that are missing",
        "SELECT 'desired' AS id FROM (SELECT COUNT(*) AS found FROM counters WHERE name = 'desired') q
             WHERE found <> 1",
        RESTORE,
    ),
    (
        "nodes in a state that this cloudly does not know",
        "SELECT id FROM nodes WHERE lifecycle NOT IN ('active', 'suspended', 'removed', 'abandoned')
             OR approval NOT IN ('approved', 'pending')",
        NEWER,
    ),
    (
        "tokens of a kind that this cloudly does not know",
        "SELECT id FROM node_tokens WHERE slot NOT IN ('current', 'next')",
        NEWER,
    ),
    (
        "values that are neither yes nor no",
        "SELECT id FROM join_tokens WHERE require_approval NOT IN (0, 1) OR allow_replace NOT IN (0, 1)
             UNION ALL SELECT node_id AS id FROM node_presence WHERE goodbye NOT IN (0, 1)",
        RESTORE,
    ),
];

/// A column with documents, and what reads one.
struct Documents {
    table: &'static str,
    id: &'static str,
    column: &'static str,
    reads: fn(&str) -> bool,
}

const fn documents(
    table: &'static str,
    id: &'static str,
    column: &'static str,
    reads: fn(&str) -> bool,
) -> Documents {
    Documents {
        table,
        id,
        column,
        reads,
    }
}

fn reads<T: DeserializeOwned>(text: &str) -> bool {
    serde_json::from_str::<T>(text).is_ok()
}

fn is_update_state(text: &str) -> bool {
    let state = serde_json::from_value::<UpdateState>(text.into());
    state.is_ok_and(|state| state.as_str() == text)
}

const DOCUMENTS: &[Documents] = &[
    documents("nodes", "id", "facts", reads::<NodeFacts>),
    documents("nodes", "id", "labels", reads::<BTreeMap<String, String>>),
    documents("nodes", "id", "capabilities", reads::<Vec<Capability>>),
    documents("join_tokens", "id", "labels", reads::<BTreeMap<String, String>>),
    documents("replacements", "id", "description", reads::<Value>),
    documents("node_presence", "node_id", "runs", reads::<Runs>),
    documents("node_status", "node_id", "status", reads::<NodeStatus>),
    documents("node_status", "node_id", "update_state", is_update_state),
    documents("releases", "id", "document", reads::<Release>),
    documents("desired", "scope", "policy", reads::<Policy>),
    documents("commands", "id", "action", reads::<CommandAction>),
    documents("commands", "id", "result", reads::<CommandResult>),
    documents("events", "event_id", "data", reads::<Value>),
    documents("audit", "action", "data", reads::<Value>),
];

/// Everything that is wrong, in the present schema.
pub(super) async fn findings(c: &mut Connection) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if Engine::of(c) == Engine::Sqlite {
        findings.extend(file(c).await?);
    }
    for (what, ids, remedy) in CHECKS {
        let sql = format!("SELECT COUNT(*), MIN(id) FROM ({ids}) wrong");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *c).await?;
        let count = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
        if count > 0 {
            findings.push(Finding {
                what: (*what).to_owned(),
                count,
                example: row.try_get::<Option<String>, _>(1)?.unwrap_or_default(),
                remedy,
            });
        }
    }
    for documents in DOCUMENTS {
        findings.extend(unreadable(c, documents).await?);
    }
    Ok(findings)
}

/// What SQLite says of its file.
async fn file(c: &mut Connection) -> Result<Option<Finding>> {
    let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(100)")
        .fetch_all(c)
        .await?;
    let wrong: Vec<_> = said.into_iter().filter(|line| line != "ok").collect();
    Ok(wrong.first().map(|first| Finding {
        what: "places of the file that are damaged".to_owned(),
        count: wrong.len() as u64,
        example: first.clone(),
        remedy: RESTORE,
    }))
}

async fn unreadable(c: &mut Connection, documents: &Documents) -> Result<Option<Finding>> {
    let Documents {
        table,
        id,
        column,
        reads,
    } = documents;
    let sql = format!("SELECT {id}, {column} FROM {table} WHERE {column} IS NOT NULL");
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(c);
    let (mut count, mut example) = (0, None);
    while let Some(row) = rows.try_next().await.map_err(Error::from)? {
        let is_read = row.try_get::<&str, _>(1).is_ok_and(reads);
        if !is_read {
            count += 1;
            if example.is_none() {
                example = row.try_get::<String, _>(0).ok();
            }
        }
    }
    Ok((count > 0).then(|| Finding {
        what: format!("values of {table}.{column} that cannot be read"),
        count,
        example: example.unwrap_or_default(),
        remedy: NEWER,
    }))
}
