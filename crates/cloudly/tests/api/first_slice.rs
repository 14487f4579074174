//! A database that Cloudly made before it had a second migration, with rows in every table.

use crate::support::{Cloudly, Device, connect, write_secret};
use baseos_interfaces::admin::{CommandRecord, EventRecord, JoinTokenRecord, Page, PresenceState};
use serde_json::json;
use tempfile::TempDir;

const PEPPER: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const JOIN_TOKEN: &str = "szj_RCU2tMZTxM_jVC0mDjZVPwjV5bOU3gysBALy33oDCWtVA4ARwLijLO46CPNi";
/// With the token that a command asked for and the node has not used yet.
const CONFIRMED: (&str, &str) = (
    "node_01M8PSYD0QSNYAAK",
    "szn_w7K3x2GKLt_fC9eOcb60Kr13KGHghfABdN9btVmuvfdGofzf3inQ5l2aT3xD",
);
const UNCONFIRMED: (&str, &str) = (
    "node_01M8PSYD0VJT0WP0",
    "szn_gdY20Pk8Vy_jPRXs4vmhcLcxMfTJQdFDZJaHS13U8xzNGRrf2t6DWU3ufbW3",
);

fn device((id, token): (&str, &str)) -> Device {
    Device {
        id: id.to_owned(),
        token: token.to_owned(),
        run: "r_1".to_owned(),
        sequence: 8,
        observed: 2,
        hash: "h1".to_owned(),
    }
}

#[tokio::test]
async fn the_database_of_the_first_slice_is_migrated_and_everything_in_it_is_used() {
    let dir = TempDir::new().unwrap();
    write_secret(dir.path().join("token-pepper"), PEPPER);
    let url = format!("sqlite:{}", dir.path().join("cloudly.db").display());
    let mut database = connect(&format!("{url}?mode=rwc")).await;
    sqlx::raw_sql(include_str!("../golden/first-slice.sql"))
        .execute(&mut database)
        .await
        .unwrap();
    drop(database);
    let cloudly = Cloudly::start_on(dir, url, |_| {}).await;

    let mut confirmed = device(CONFIRMED);
    let node = cloudly.node(&confirmed).await;
    assert_eq!((node.name.as_str(), node.observed_revision), ("edge-1", 2));
    assert_eq!(
        (node.desired_revision, node.desired_commit.as_deref()),
        (2, Some("1f0a9be"))
    );
    assert_ne!(node.last_seen_at, None);
    assert!(node.status.is_some());
    // Its run goes on: the next heartbeat is neither a gap nor a clone's.
    let instructions = confirmed.heartbeat(&cloudly).await.instructions;
    assert!(!instructions.resend_full_status && !instructions.clone_suspected);
    assert_eq!(instructions.desired, None);
    assert_eq!(instructions.commands.len(), 1);
    assert_eq!(cloudly.node(&confirmed).await.presence, PresenceState::Online);

    let mut unconfirmed = device(UNCONFIRMED);
    unconfirmed.observed = 0;
    assert_eq!(
        unconfirmed
            .heartbeat(&cloudly)
            .await
            .instructions
            .desired
            .unwrap()
            .revision,
        1
    );
    let path = format!("nodes/{}", confirmed.id);
    let commands: Vec<CommandRecord> = cloudly.list(&format!("{path}/commands"), 10).await;
    let done: Vec<_> = commands.iter().map(|command| command.result.is_some()).collect();
    assert_eq!(done, [true, false, true], "rotated, open, done before");
    let events: Vec<EventRecord> = cloudly.list(&format!("{path}/events"), 10).await;
    assert_eq!(events[0].event.id, "event-1");
    assert_eq!(cloudly.audit().await.len(), 11 + 2);
    cloudly.register_ok(JOIN_TOKEN, "registration-edge-3").await;
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!((tokens.items[0].uses, tokens.items[0].max_uses), (3, 3));
    let revision: serde_json::Value = cloudly.put("desired", json!({ "commit": "1f0a9be" })).await;
    assert_eq!(revision["revision"], 3);
}
