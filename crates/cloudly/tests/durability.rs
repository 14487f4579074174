//! What outlives a restart, what a start refuses, and many nodes at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::admin::{NodeRecord, PresenceState};
use cloudly_baseos::{Clock, Server, Settings};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use support::{COMMIT, Cloudly, status};

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap()
}

async fn why_not(database: &Path) -> String {
    let mut settings = Settings::new(database);
    settings.listen = "127.0.0.1:0".to_owned();
    let bound = Server::bind(settings, Clock::manual(support::start_time())).await;
    bound.err().expect("it must not start").to_string()
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    cloudly.release(COMMIT).await;
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    device.report(&cloudly, status("idle", None, None)).await;
    let _: Value = cloudly
        .post(
            &format!("nodes/{}/commands", device.id),
            json!({ "type": "checkNow" }),
        )
        .await;
    let (before, audit) = (cloudly.node(&device).await, cloudly.audit().await);
    let (admin, address) = (cloudly.admin.clone(), cloudly.url.clone());

    cloudly.restart().await;
    assert_eq!(cloudly.admin, admin);
    assert_ne!(cloudly.url, address, "another port, so it is another server");
    assert_eq!(cloudly.node(&device).await, before);
    assert_eq!(cloudly.audit().await, audit);
    let orders = device.beat(&cloudly).await.orders;
    assert!(
        !orders.resend_full_status,
        "the sequence goes on and the status is known"
    );
    assert_eq!(orders.desired.unwrap().app.unwrap().release.commit, COMMIT);
    assert_eq!(orders.commands.len(), 1);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
}

#[tokio::test]
async fn only_hashes_of_tokens_are_in_the_database() {
    let mut cloudly = Cloudly::start().await;
    let join = cloudly.join_token(json!({})).await;
    let mut device = cloudly.enrol("edge").await;
    device.beat(&cloudly).await;
    let _: Value = cloudly
        .post(
            &format!("nodes/{}/commands", device.id),
            json!({ "type": "rotateToken" }),
        )
        .await;
    let next = device.beat(&cloudly).await.credentials.unwrap();
    let admin = cloudly.admin.clone();
    cloudly.stop().await;
    let bytes = std::fs::read(cloudly.database()).unwrap();
    for token in [&join, &device.token, next.node_token.expose(), &admin] {
        let secret = &token.as_bytes()[15..58];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_secrets_and_the_database_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let cloudly = Cloudly::start().await;
    for name in ["admin-token", "token-pepper", "cloudly.db", "cloudly.db-wal"] {
        let mode = std::fs::metadata(cloudly.dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_audit_log_and_the_events_cannot_be_rewritten() {
    let mut cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let event = json!({ "id": "e", "at": "2026-11-23T12:00:00Z", "type": "x", "data": 1 });
    device.beat_with(&cloudly, json!({ "events": [event] })).await;
    cloudly.stop().await;
    let mut database = open(&cloudly.database()).await;
    for statement in [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "UPDATE events SET kind = 'y'",
    ] {
        let error = sqlx::raw_sql(statement)
            .execute(&mut database)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_keeps_the_server_from_starting() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("cloudly.db");
    std::fs::write(
        &path,
        "this is a letter, not a database, and a long one at that. ".repeat(40),
    )
    .unwrap();
    assert!(why_not(&path).await.contains("is not a database of Cloudly"));
}

#[tokio::test]
async fn somebody_elses_database_keeps_the_server_from_starting() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("cloudly.db");
    std::fs::write(&path, "").unwrap();
    let mut database = open(&path).await;
    sqlx::raw_sql("CREATE TABLE recipes (id INTEGER)")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    assert!(why_not(&path).await.contains("is not a database of Cloudly"));
}

#[tokio::test]
async fn a_newer_schema_keeps_the_server_from_starting() {
    let mut cloudly = Cloudly::start().await;
    cloudly.stop().await;
    let mut database = open(&cloudly.database()).await;
    sqlx::raw_sql("INSERT INTO cloudly_schema VALUES (99, 0)")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    assert!(why_not(&cloudly.database()).await.contains("run a newer cloudly"));
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("nowhere/cloudly.db");
    let error = why_not(&path).await;
    assert!(
        error.contains("nowhere/cloudly.db") && error.contains("No such file"),
        "{error}"
    );
    assert!(
        why_not(dir.path()).await.contains("directory"),
        "a directory in the file's place"
    );
}

#[tokio::test]
async fn a_lost_pepper_is_not_replaced_silently() {
    let mut cloudly = Cloudly::start().await;
    cloudly.stop().await;
    let pepper = cloudly.dir.path().join("token-pepper");
    let kept = std::fs::read_to_string(&pepper).unwrap();
    std::fs::remove_file(&pepper).unwrap();
    let error = why_not(&cloudly.database()).await;
    assert!(
        error.contains("is missing") && error.contains("restore it from the backup"),
        "{error}"
    );
    assert!(!pepper.exists());
    std::fs::write(&pepper, "0".repeat(64)).unwrap();
    let error = why_not(&cloudly.database()).await;
    assert!(
        error.contains("is not the one this database was made with"),
        "{error}"
    );
    std::fs::write(&pepper, "salt").unwrap();
    assert!(
        why_not(&cloudly.database())
            .await
            .contains("is not a token pepper")
    );
    std::fs::write(&pepper, kept).unwrap();
    cloudly.restart_stopped().await;
}

#[tokio::test]
async fn two_servers_do_not_share_a_database() {
    let cloudly = Cloudly::start().await;
    assert!(
        why_not(&cloudly.database())
            .await
            .contains("another cloudly already uses")
    );
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let cloudly = Cloudly::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let mut settings = Settings::new(dir.path().join("cloudly.db"));
    settings.listen = cloudly.url.trim_start_matches("http://").to_owned();
    let error = Server::bind(settings, Clock::system())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("cannot listen on 127.0.0.1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_nodes_beat_at_once_and_none_is_lost() {
    let mut cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 200 })).await;
    cloudly.release(COMMIT).await;
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    let shared = Arc::new(cloudly);
    let tasks = (0..200).map(|n| {
        let (cloudly, token) = (Arc::clone(&shared), token.clone());
        tokio::spawn(async move {
            let answer = support::good(cloudly.register(&token, &format!("reg-{n}")).await).await;
            let mut device = support::Device::new(answer);
            device.report(&cloudly, status("idle", None, None)).await;
            for beat in 0..10 {
                let orders = device.beat(&cloudly).await.orders;
                assert!(!orders.resend_full_status, "node {n}, beat {beat}");
                device.observed = orders.desired.map_or(device.observed, |desired| desired.revision);
            }
            device.id
        })
    });
    let mut ids = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        ids.push(task.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    cloudly = Arc::into_inner(shared).unwrap();
    cloudly.restart().await;
    let mut nodes: Vec<NodeRecord> = Vec::new();
    let mut path = "nodes?limit=150".to_owned();
    loop {
        let page: baseos_interfaces::admin::Page<NodeRecord> = cloudly.get(&path).await;
        nodes.extend(page.items);
        let Some(next) = page.next else { break };
        path = format!("nodes?limit=150&cursor={next}");
    }
    assert_eq!(nodes.len(), 200);
    assert!(
        nodes
            .iter()
            .all(|node| node.presence == PresenceState::Online && node.observed_revision == 1)
    );
}
