//! What is stored, and how.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, connect, status};
use baseos_interfaces::admin::{NodeRecord, PresenceState};
use rstest_reuse::apply;
use serde_json::json;
use std::sync::Arc;

#[apply(each_engine)]
#[tokio::test]
async fn a_restart_keeps_everything(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    cloudly.set_target(COMMIT).await;
    device.report(&cloudly, status("idle", None, None)).await;
    cloudly.command(&device, json!({ "type": "checkNow" })).await;
    let (before, audit) = (cloudly.node(&device).await, cloudly.audit().await);
    let (admin, address) = (cloudly.admin_token.clone(), cloudly.url.clone());

    cloudly.restart().await;
    assert_eq!(cloudly.admin_token, admin);
    assert_ne!(cloudly.url, address, "another port, so it is another server");
    assert_eq!(cloudly.node(&device).await, before);
    assert_eq!(cloudly.audit().await, audit);
    let instructions = device.heartbeat(&cloudly).await.instructions;
    assert!(
        !instructions.resend_full_status,
        "the sequence goes on and the status is known"
    );
    assert_eq!(instructions.desired.unwrap().app.unwrap().release.commit, COMMIT);
    assert_eq!(instructions.commands.len(), 1);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
}

#[apply(each_engine)]
#[tokio::test]
async fn the_audit_log_and_the_events_are_append_only(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let event = json!({ "id": "e", "at": "2026-11-23T12:00:00Z", "type": "x", "data": 1 });
    device
        .heartbeat_with(&cloudly, json!({ "events": [event] }))
        .await;
    cloudly.stop().await;
    let mut database = connect(&cloudly.database_url).await;
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

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_heartbeats_of_two_hundred_nodes_are_all_stored(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 200 })).await;
    cloudly.set_target(COMMIT).await;
    let shared = Arc::new(cloudly);
    let tasks = (0..200).map(|n| {
        let (cloudly, token) = (Arc::clone(&shared), token.clone());
        tokio::spawn(async move {
            let mut device = cloudly.register_ok(&token, &format!("reg-{n}")).await;
            device.report(&cloudly, status("idle", None, None)).await;
            for heartbeat in 0..10 {
                let instructions = device.heartbeat(&cloudly).await.instructions;
                assert!(
                    !instructions.resend_full_status,
                    "node {n}, heartbeat {heartbeat}"
                );
                device.observed = instructions
                    .desired
                    .map_or(device.observed, |desired| desired.revision);
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
    let nodes: Vec<NodeRecord> = cloudly.list("nodes", 150).await;
    assert_eq!(nodes.len(), 200);
    assert!(
        nodes
            .iter()
            .all(|node| node.presence == PresenceState::Online && node.observed_revision == 1)
    );
}
