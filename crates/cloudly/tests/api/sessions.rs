//! Sessions are in memory: the usual heartbeat asks no database, and every change counts from its answer on.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, metrics, ok, status};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A node that has said everything and been told everything.
async fn settled(cloudly: &Cloudly, name: &str) -> Device {
    let mut device = cloudly.enrol(name).await;
    device.heartbeat(cloudly).await;
    device.report(cloudly, status("idle", None, None)).await;
    device.heartbeat(cloudly).await;
    device
}

#[apply(each_engine)]
#[tokio::test]
async fn the_usual_heartbeat_asks_no_database_and_hashes_one_token(engine: Engine) {
    const HEARTBEATS: u64 = 50;
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;
    let before = metrics(&cloudly).await;
    for _ in 0..HEARTBEATS {
        cloudly.clock.advance(60);
        device.heartbeat(&cloudly).await;
    }
    let after = metrics(&cloudly).await;
    let counted = |name: &str| after[name] - before.get(name).copied().unwrap_or(0);
    assert_eq!(counted("cloudly_heartbeats_total{kind=\"small\"}"), HEARTBEATS);
    assert_eq!(counted("cloudly_session_hits_total"), HEARTBEATS);
    assert_eq!(counted("cloudly_session_misses_total"), 0);
    assert_eq!(counted("cloudly_database_reads_total"), 0);
    assert_eq!(counted("cloudly_database_writes_total"), 0);
    // One of them is the admin token that asked.
    assert_eq!(counted("cloudly_token_hashes_total"), HEARTBEATS + 1);
    assert_eq!(after["cloudly_nodes{presence=\"online\"}"], 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_use_that_is_given_back_costs_other_nodes_no_read(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;
    cloudly.enrol("never-heard-from").await;
    cloudly.clock.advance(15 * 60);
    let _: Value = cloudly.get("join-tokens").await;
    let misses = "cloudly_session_misses_total";
    let before = metrics(&cloudly).await[misses];
    device.heartbeat(&cloudly).await;
    assert_eq!(metrics(&cloudly).await[misses], before);
}

#[apply(each_engine)]
#[tokio::test]
async fn metrics_want_the_admin_token(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let answer = cloudly.http.get(format!("{}/metrics", cloudly.url)).send().await;
    assert_eq!(answer.unwrap().status(), 401);
}

#[apply(each_engine)]
#[tokio::test]
async fn what_an_operator_changes_counts_from_the_next_heartbeat_on(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;

    cloudly.decide(&device, "suspend").await;
    assert_eq!(device.refused(&cloudly).await.status, 403);
    cloudly.decide(&device, "restore").await;
    device.heartbeat(&cloudly).await;

    cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    let old = device.token.clone();
    let new = device.rotated_token(&cloudly).await;
    device.heartbeat(&cloudly).await;
    device.token = new;
    device.heartbeat(&cloudly).await;
    device.token = old;
    assert_eq!(
        device.refused(&cloudly).await.status,
        401,
        "the new one is in use"
    );

    let mut device = settled(&cloudly, "other").await;
    cloudly.decide(&device, "remove").await;
    assert_eq!(device.refused(&cloudly).await.status, 410);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_target_counts_from_the_next_heartbeat_on(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;
    let mut other = settled(&cloudly, "other").await;
    let revision = cloudly.set_target(COMMIT).await;
    for device in [&mut device, &mut other] {
        let desired = device.heartbeat(&cloudly).await.instructions.desired;
        assert_eq!(desired.unwrap().revision, revision, "for all");
        device.observed = revision;
        assert!(device.heartbeat(&cloudly).await.instructions.desired.is_none());
    }
    let own = format!("nodes/{}/desired", device.id);
    let set: Value = cloudly.put(&own, json!({ "commit": null })).await;
    let desired = device.heartbeat(&cloudly).await.instructions.desired.unwrap();
    assert_eq!(
        (Some(desired.revision), desired.app),
        (set["revision"].as_u64(), None)
    );
    device.observed = desired.revision;
    assert!(device.heartbeat(&cloudly).await.instructions.desired.is_none());
    let unset = cloudly.admin(Method::DELETE, &own).send().await.unwrap();
    let _: Value = ok(unset).await;
    assert!(device.heartbeat(&cloudly).await.instructions.desired.is_some());
    assert!(other.heartbeat(&cloudly).await.instructions.desired.is_none());
}

#[apply(each_engine)]
#[tokio::test]
async fn a_command_counts_from_the_next_heartbeat_on_until_it_expires(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;
    let command = cloudly.command(&device, json!({ "type": "checkNow" })).await;
    let commands = device.heartbeat(&cloudly).await.instructions.commands;
    assert_eq!(commands[0].id, command.id);
    let result = json!({
        "id": command.id, "state": "succeeded", "finishedAt": "2026-11-23T12:00:00Z", "message": null
    });
    let done = device
        .heartbeat_with(&cloudly, json!({ "commandResults": [result] }))
        .await;
    assert!(done.instructions.commands.is_empty());
    assert!(device.heartbeat(&cloudly).await.instructions.commands.is_empty());
    cloudly.command(&device, json!({ "type": "checkNow" })).await;
    assert_eq!(device.heartbeat(&cloudly).await.instructions.commands.len(), 1);
    cloudly.clock.advance(40 * 24 * 3600);
    let before = metrics(&cloudly).await;
    assert!(device.heartbeat(&cloudly).await.instructions.commands.is_empty());
    let after = metrics(&cloudly).await;
    let reads = "cloudly_database_reads_total";
    assert_eq!(after[reads], before[reads]);
}

/// Heartbeats that are under way while the node is suspended may be accepted; none that begins after the answer.
#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_heartbeat_is_accepted_once_a_suspension_was_answered(engine: Engine) {
    const ROUNDS: usize = 20;
    let cloudly = Arc::new(
        Cloudly::start_with(engine, |settings| {
            settings.node_rate = cloudly_baseos::Rate {
                burst: 100_000,
                per_second: 100_000.0,
            };
        })
        .await,
    );
    let device = settled(&cloudly, "edge").await;
    for _ in 0..ROUNDS {
        let suspended = Arc::new(AtomicBool::new(false));
        let beat = || {
            let (cloudly, suspended) = (Arc::clone(&cloudly), Arc::clone(&suspended));
            let mut device = device.clone();
            tokio::spawn(async move {
                loop {
                    let is_last = suspended.load(Ordering::SeqCst);
                    let heartbeat = device.next(json!({}));
                    let answer = device.send(&cloudly, &heartbeat).await.status().as_u16();
                    if is_last {
                        return answer;
                    }
                }
            })
        };
        let beats: Vec<_> = (0..4).map(|_| beat()).collect();
        cloudly.decide(&device, "suspend").await;
        suspended.store(true, Ordering::SeqCst);
        for beat in beats {
            assert_eq!(beat.await.unwrap(), 403);
        }
        cloudly.decide(&device, "restore").await;
    }
}

/// The body of a heartbeat comes after its token was found to be good.
#[apply(each_engine)]
#[tokio::test]
async fn what_changes_while_a_body_is_on_its_way_counts_for_that_heartbeat(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = settled(&cloudly, "edge").await;
    let body = device.next(json!({})).to_string();
    let looked_up = async || {
        let metrics = metrics(&cloudly).await;
        metrics["cloudly_session_hits_total"] + metrics["cloudly_session_misses_total"]
    };
    let before = looked_up().await;
    let address = cloudly.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /baseos/v1/nodes/heartbeat HTTP/1.1\r\nhost: cloudly\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        device.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while looked_up().await == before {}
    cloudly.decide(&device, "suspend").await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
