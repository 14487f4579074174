//! What is deleted when it is old, and what is kept.

use crate::each_engine;
use crate::support::{Cloudly, Device, Engine, connect};
use baseos_interfaces::admin::EventRecord;
use cloudly_baseos::{Database, maintenance};
use futures_util::StreamExt as _;
use rstest_reuse::apply;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: i64 = 24 * 3600;

async fn count(cloudly: &Cloudly, statement: &'static str) -> i64 {
    let mut database = connect(&cloudly.database_url).await;
    sqlx::query_scalar(statement)
        .fetch_one(&mut database)
        .await
        .unwrap()
}

/// Some days pass, and the next run, a second later at most, deletes what is due until `statement` counts so many.
async fn count_after(cloudly: &Cloudly, days: i64, statement: &'static str, expected: i64) {
    cloudly.clock.advance(days * DAY);
    wait_count(cloudly, statement, expected).await;
}

/// What is left belongs together.
async fn check(cloudly: &Cloudly) {
    let database = Database::parse(&cloudly.database_url).unwrap();
    let pepper = cloudly.dir.path().join("token-pepper");
    assert_eq!(maintenance::check(&database, &pepper).await.unwrap(), []);
}

async fn wait_count(cloudly: &Cloudly, statement: &'static str, expected: i64) {
    let reached = async { while count(cloudly, statement).await != expected {} };
    if tokio::time::timeout(Duration::from_secs(60), reached)
        .await
        .is_err()
    {
        let count = count(cloudly, statement).await;
        assert_eq!(count, expected, "{statement}");
    }
}

fn event(id: String) -> Value {
    json!({ "id": id, "at": "2026-11-23T12:00:00Z", "type": "transition", "data": {} })
}

async fn report_events(cloudly: &Cloudly, device: &mut Device, ids: std::ops::Range<u32>) {
    let events: Vec<_> = ids.map(|id| event(format!("e_{id}"))).collect();
    device.heartbeat_with(cloudly, json!({ "events": events })).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn events_and_ended_commands_go_after_ninety_days(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    report_events(&cloudly, &mut device, 0..3).await;
    let done = cloudly.command(&device, json!({ "type": "checkNow" })).await;
    let result =
        json!({ "id": done.id, "state": "succeeded", "finishedAt": "2026-11-23T12:00:00Z", "message": null });
    device
        .heartbeat_with(&cloudly, json!({ "commandResults": [result] }))
        .await;
    cloudly.clock.advance(60 * DAY);
    report_events(&cloudly, &mut device, 3..5).await;
    cloudly.command(&device, json!({ "type": "reboot" })).await;

    count_after(&cloudly, 31, "SELECT COUNT(*) FROM events", 2).await;
    count_after(&cloudly, 0, "SELECT COUNT(*) FROM commands", 1).await;
    let events: Vec<EventRecord> = cloudly.list(&format!("nodes/{}/events", device.id), 10).await;
    let ids: Vec<_> = events.iter().map(|event| event.event.id.as_str()).collect();
    assert_eq!(ids, ["e_4", "e_3"]);
    device.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_keeps_its_newest_two_thousand_events(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut noisy, mut quiet) = (cloudly.enrol("noisy").await, cloudly.enrol("quiet").await);
    report_events(&cloudly, &mut quiet, 0..2).await;
    for batch in 0..32 {
        report_events(&cloudly, &mut noisy, batch * 64..batch * 64 + 64).await;
        cloudly.clock.advance(60);
    }
    assert_eq!(count(&cloudly, "SELECT COUNT(*) FROM events").await, 2000 + 2);
    let events: Vec<EventRecord> = cloudly.list(&format!("nodes/{}/events", noisy.id), 200).await;
    assert_eq!(events[0].event.id, "e_2047");
    assert_eq!(events[1999].event.id, "e_48");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_removed_node_is_told_so_for_ninety_days_and_then_forgotten(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut device, mut other) = (cloudly.enrol("edge").await, cloudly.enrol("other").await);
    report_events(&cloudly, &mut device, 0..3).await;
    cloudly.command(&device, json!({ "type": "reboot" })).await;
    // Long enough that an age counted from the enrolment would be over.
    cloudly.clock.advance(100 * DAY);
    cloudly.decide(&device, "remove").await;
    cloudly.clock.advance(89 * DAY);
    other.heartbeat(&cloudly).await;
    assert_eq!(device.refused(&cloudly).await.status, 410);

    count_after(&cloudly, 2, "SELECT COUNT(*) FROM nodes", 1).await;
    for left in [
        "SELECT COUNT(*) FROM node_tokens",
        "SELECT COUNT(*) FROM node_presence",
        "SELECT COUNT(*) FROM nodes WHERE name = 'other'",
    ] {
        assert_eq!(count(&cloudly, left).await, 1, "{left}");
    }
    assert_eq!(count(&cloudly, "SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(count(&cloudly, "SELECT COUNT(*) FROM commands").await, 0);
    assert_eq!(device.refused(&cloudly).await.status, 401);
    other.heartbeat(&cloudly).await;
    let kept: Vec<_> = cloudly
        .audit()
        .await
        .into_iter()
        .map(|(action, _)| action)
        .collect();
    assert!(
        kept.contains(&"node.removed".to_owned()) && kept.contains(&"node.registered".to_owned()),
        "{kept:?}"
    );
    check(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_registration_that_was_never_heard_goes_thirty_days_after_its_use_was_given_back(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let ttl = 3600 * 24 * 7;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "ttlSeconds": ttl }))
        .await;
    let mut early = cloudly.register_ok(&token, "early").await;
    let mut late = cloudly.register_ok(&token, "late").await;
    // Given back with the next sweep or list.
    cloudly.clock.advance(3600);
    let _: Value = cloudly.get("join-tokens").await;
    cloudly.clock.advance(29 * DAY);
    let _: Value = cloudly.get("join-tokens").await;
    early.heartbeat(&cloudly).await;

    count_after(&cloudly, 2, "SELECT COUNT(*) FROM nodes", 1).await;
    assert_eq!(late.refused(&cloudly).await.status, 401);
    early.heartbeat(&cloudly).await;
    assert_eq!(count(&cloudly, "SELECT COUNT(*) FROM join_uses").await, 1);
    check(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_that_was_never_heard_goes_and_its_node_stays(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let hardware = json!({ "name": "edge", "agentVersion": "0.1.0", "hardwareId": "aa" });
    let token = cloudly.join_token(json!({})).await;
    let answer = cloudly.register_as(&token, "first", hardware.clone()).await;
    let mut node = Device::new(crate::support::ok(answer).await);
    node.heartbeat(&cloudly).await;
    let token = cloudly.join_token(json!({ "allowReplace": true })).await;
    let answer = cloudly.register_as(&token, "second", hardware).await;
    let mut replacement = Device::new(crate::support::ok(answer).await);
    cloudly.clock.advance(3600);
    let _: Value = cloudly.get("join-tokens").await;

    count_after(&cloudly, 31, "SELECT COUNT(*) FROM replacements", 0).await;
    assert_eq!(replacement.refused(&cloudly).await.status, 401);
    check(&cloudly).await;
    node.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_join_token_goes_ninety_days_after_its_end_and_its_nodes_stay(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    let token = cloudly
        .join_token(json!({ "maxUses": 5, "ttlSeconds": 30 * DAY }))
        .await;
    let mut removed = cloudly.enrol_with(&token, "removed").await;
    removed.heartbeat(&cloudly).await;
    cloudly.decide(&removed, "remove").await;
    count_after(&cloudly, 91, "SELECT COUNT(*) FROM join_tokens", 1).await;
    wait_count(&cloudly, "SELECT COUNT(*) FROM nodes", 1).await;
    check(&cloudly).await;
    count_after(&cloudly, 30, "SELECT COUNT(*) FROM join_tokens", 0).await;
    assert_eq!(count(&cloudly, "SELECT COUNT(*) FROM join_uses").await, 0);
    device.heartbeat(&cloudly).await;
    check(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn what_operators_did_is_kept_and_cannot_be_deleted(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    cloudly.register_ok(&token, "first").await;
    assert_eq!(cloudly.register(&token, "other").await.status(), 401);
    assert_eq!(cloudly.refusals().await, ["spent"]);
    count_after(
        &cloudly,
        91,
        "SELECT COUNT(*) FROM audit WHERE action = 'joinToken.refused'",
        0,
    )
    .await;
    let kept: Vec<_> = cloudly
        .audit()
        .await
        .into_iter()
        .map(|(action, _)| action)
        .collect();
    assert_eq!(kept, ["node.registered", "joinToken.created"]);
    let mut database = connect(&cloudly.database_url).await;
    let refused = sqlx::query("DELETE FROM audit WHERE action = 'joinToken.created'")
        .execute(&mut database)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
}

/// A fleet in fast-forward. `CLOUDLY_FLEET_NODES` says how large it is.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how much to do, for the long tier")]
async fn after_the_first_months_the_database_does_not_grow_any_more() {
    let nodes = std::env::var("CLOUDLY_FLEET_NODES").map_or(30, |nodes| nodes.parse().unwrap());
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    let token = cloudly
        .join_token(json!({ "maxUses": nodes, "ttlSeconds": 7 * DAY }))
        .await;
    let mut fleet = Vec::new();
    for node in 0..nodes {
        fleet.push(cloudly.enrol_with(&token, &format!("edge-{node}")).await);
    }
    let mut sizes = Vec::new();
    for day in 0..=140 {
        cloudly.clock.advance(DAY);
        spend_a_day(&cloudly, &mut fleet, day).await;
        if day % 10 == 0 {
            wait_pruned(&cloudly).await;
            sizes.push(size(&cloudly).await);
        }
    }
    let [.., before, _, _, after] = sizes[..] else {
        panic!("{sizes:?}")
    };
    assert!(before > 2 * sizes[1], "it has grown at first: {sizes:?}");
    // But for the audit log of what operators did, and what came before the hourly run, which these days do not wait for.
    let a_month = 3 * (sizes[4] - sizes[3]);
    assert!(after <= before + a_month / 2, "{sizes:?}");
}

/// Each node updates; one of them is commanded, one is registered and never heard, and somebody tries tokens.
async fn spend_a_day(cloudly: &Cloudly, fleet: &mut [Device], day: u32) {
    let mut running = futures_util::stream::iter(fleet.iter_mut().map(|device| async move {
        let events: Vec<_> = (0..4).map(|n| event(format!("e_{day}_{n}"))).collect();
        let status = crate::support::status("succeeded", Some("1f0a9be"), Some("1f0a9be"));
        device.hash = format!("h{day}");
        let beat = json!({ "events": events, "status": status });
        device.heartbeat_with(cloudly, beat).await;
    }))
    .buffer_unordered(32);
    while running.next().await.is_some() {}
    drop(running);
    let chosen = day as usize % fleet.len();
    let device = &mut fleet[chosen];
    let command = cloudly.command(device, json!({ "type": "checkNow" })).await;
    let at = cloudly.clock.now();
    let result = json!({ "id": command.id, "state": "succeeded", "finishedAt": at, "message": null });
    cloudly.clock.advance(60);
    device
        .heartbeat_with(cloudly, json!({ "commandResults": [result] }))
        .await;
    let token = cloudly.join_token(json!({})).await;
    cloudly.register_ok(&token, &format!("never-heard-{day}")).await;
    for n in 0..3 {
        let refused = cloudly.register(&token, &format!("too-late-{day}-{n}")).await;
        assert_eq!(refused.status(), 401);
    }
}

async fn wait_pruned(cloudly: &Cloudly) {
    let old = cloudly.clock.now().as_millisecond() - 90 * DAY * 1000;
    let is_pruned = async {
        loop {
            let mut database = connect(&cloudly.database_url).await;
            let events = sqlx::query_scalar("SELECT COUNT(*) FROM events WHERE received_at < $1");
            let left: i64 = events.bind(old).fetch_one(&mut database).await.unwrap();
            if left == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_pruned)
        .await
        .unwrap();
}

/// In pages.
async fn size(cloudly: &Cloudly) -> i64 {
    count(cloudly, "PRAGMA page_count").await
}
