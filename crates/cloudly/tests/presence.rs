//! Who is there, and whether it is one or two: presence and clones (contract §4.3 and §4.11).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::admin::PresenceState;
use serde_json::{Value, json};
use support::{COMMIT, Cloudly, status};

#[tokio::test]
async fn two_runs_that_alternate_are_a_clone_and_get_nothing_until_an_operator_clears_it() {
    let cloudly = Cloudly::start().await;
    let mut one = cloudly.enrol("edge").await;
    cloudly.release(COMMIT).await;
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    let mut two = one.clone();
    two.run = "r_2".to_owned();
    let mut suspected = false;
    for _ in 0..3 {
        suspected |= one.beat(&cloudly).await.orders.clone_suspected;
        suspected |= two.beat(&cloudly).await.orders.clone_suspected;
    }
    assert!(suspected);
    let _: Value = cloudly
        .post(&format!("nodes/{}/commands", one.id), json!({ "type": "reboot" }))
        .await;
    let orders = two.beat(&cloudly).await.orders;
    assert!(orders.clone_suspected);
    assert!(orders.desired.is_none() && orders.commands.is_empty());
    assert!(cloudly.node(&one).await.clone_suspected);
    assert_eq!(
        cloudly
            .audit()
            .await
            .iter()
            .filter(|(action, _)| action == "node.cloneSuspected")
            .count(),
        1
    );

    let _: Value = cloudly
        .post(&format!("nodes/{}/clear-clone", one.id), json!({}))
        .await;
    let orders = two.beat(&cloudly).await.orders;
    assert!(!orders.clone_suspected);
    assert!(orders.desired.is_some());
}

#[tokio::test]
async fn restarts_and_a_request_the_network_delayed_are_no_clone() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.beat(&cloudly).await;
    for run in ["r_2", "r_3", "r_4"] {
        let mut earlier = device.clone();
        device.run = run.to_owned();
        device.sequence = 0;
        assert!(!device.beat(&cloudly).await.orders.clone_suspected);
        assert!(!earlier.beat(&cloudly).await.orders.clone_suspected);
        assert!(!device.beat(&cloudly).await.orders.clone_suspected);
    }
}

#[tokio::test]
async fn a_delayed_status_of_an_earlier_run_does_not_replace_a_newer_one() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device
        .report(&cloudly, status("applying", Some(COMMIT), None))
        .await;
    let mut earlier = device.clone();
    device.run = "r_2".to_owned();
    device
        .report(&cloudly, status("succeeded", Some(COMMIT), Some(COMMIT)))
        .await;
    earlier
        .report(&cloudly, status("failed", Some(COMMIT), None))
        .await;
    assert_eq!(
        cloudly.node(&device).await.status.unwrap().update.state.as_str(),
        "succeeded"
    );
}

#[tokio::test]
async fn presence_goes_from_online_to_late_to_offline_with_the_promise() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    assert_eq!(cloudly.node(&device).await.last_seen_at, None);
    let told = device.beat(&cloudly).await.orders.next_heartbeat_seconds;
    assert_eq!(told, 60);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
    assert_eq!(
        cloudly.node(&device).await.last_seen_at,
        Some(support::start_time())
    );
    cloudly.clock.advance(60 + 20);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
    cloudly.clock.advance(1);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Late);
    cloudly.clock.advance(100);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
    device.beat(&cloudly).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
}

#[tokio::test]
async fn after_a_restart_a_silent_node_is_unknown_until_cloudly_has_been_up_for_two_intervals() {
    let mut cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.beat(&cloudly).await;
    cloudly.stop_and_advance(600).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Unknown);
    cloudly.clock.advance(120);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
}

#[tokio::test]
async fn a_goodbye_is_offline_at_once_and_the_next_heartbeat_is_online() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.beat_with(&cloudly, json!({ "goodbye": true })).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
    device.run = "r_2".to_owned();
    device.beat(&cloudly).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
}
