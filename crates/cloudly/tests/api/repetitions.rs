//! Repetitions of a registration with other hardware: each is judged like a first registration (contract §3.4).

use crate::each_engine;
use crate::support::{Cloudly, Device, Engine, assert_refused, ok, problem};
use baseos_interfaces::admin::JoinTokenRecord;
use baseos_interfaces::register::{Approval, RegisterAnswer};
use rstest_reuse::apply;
use serde_json::{Value, json};

fn hardware(id: &str) -> Value {
    json!({ "name": "edge", "agentVersion": "0.1.0", "hardwareId": format!("sha256:{id}") })
}

async fn registered(cloudly: &Cloudly, token: &str, registration: &str, id: &str) -> RegisterAnswer {
    ok(cloudly.register_as(token, registration, hardware(id)).await).await
}

/// A node with this hardware that has been heard from.
async fn heard(cloudly: &Cloudly, id: &str) -> Device {
    let token = cloudly.join_token(json!({})).await;
    let mut device = Device::new(registered(cloudly, &token, "first", id).await);
    device.heartbeat(cloudly).await;
    device
}

async fn uses(cloudly: &Cloudly) -> Vec<u32> {
    let tokens: Vec<JoinTokenRecord> = cloudly.list("join-tokens", 10).await;
    let mut uses: Vec<_> = tokens.iter().map(|token| token.uses).collect();
    uses.sort_unstable();
    uses
}

#[apply(each_engine)]
#[tokio::test]
async fn a_repetition_with_the_hardware_of_a_known_node_waits_for_approval(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa").await;
    let token = cloudly.join_token(json!({})).await;
    let mut first = Device::new(registered(&cloudly, &token, "second", "bb").await);
    let again = registered(&cloudly, &token, "second", "aa").await;
    assert_eq!(again.approval, Approval::Pending);
    assert_eq!(again.approval_reason.as_deref(), Some("possibleReplacement"));
    assert_ne!(again.node_id, old.id);
    assert_eq!(first.refused(&cloudly).await.status, 401, "one use, one node");
    let mut again = Device::new(again);
    again.heartbeat(&cloudly).await;
    old.heartbeat(&cloudly).await;
    assert_eq!(uses(&cloudly).await, [1, 1]);
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_repetition_with_the_hardware_of_a_known_node_replaces_it_if_the_token_allows_it(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa").await;
    let token = cloudly.join_token(json!({ "allowReplace": true })).await;
    let mut first = Device::new(registered(&cloudly, &token, "second", "bb").await);
    let again = registered(&cloudly, &token, "second", "aa").await;
    assert_eq!(again.node_id, old.id);
    old.heartbeat(&cloudly).await;
    assert_eq!(first.refused(&cloudly).await.status, 401);
    Device::new(again).heartbeat(&cloudly).await;
    assert_eq!(old.refused(&cloudly).await.status, 401);
    assert_eq!(uses(&cloudly).await, [1, 1]);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_repeated_replacement_with_other_hardware_replaces_that_node_or_none(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut one, mut two) = (heard(&cloudly, "aa").await, heard(&cloudly, "bb").await);
    let token = cloudly.join_token(json!({ "allowReplace": true })).await;
    let mut devices = Vec::new();
    for (id, node) in [("aa", Some(&one.id)), ("bb", Some(&two.id)), ("cc", None)] {
        let answer = registered(&cloudly, &token, "third", id).await;
        if let Some(node) = node {
            assert_eq!(answer.node_id, *node);
        }
        devices.push(Device::new(answer));
    }
    let mut last = devices.pop().unwrap();
    assert!(last.id != one.id && last.id != two.id);
    for mut void in devices {
        assert_eq!(void.refused(&cloudly).await.status, 401);
    }
    for device in [&mut one, &mut two, &mut last] {
        device.heartbeat(&cloudly).await;
    }
    assert_eq!(uses(&cloudly).await, [1, 1, 1]);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_repetition_with_the_same_hardware_is_the_same_node_in_every_phase(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let first = registered(&cloudly, &token, "second", "aa").await;
    // Another one with this hardware was heard since.
    heard(&cloudly, "aa").await;
    let second = registered(&cloudly, &token, "second", "aa").await;
    cloudly.clock.advance(16 * 60);
    let third = registered(&cloudly, &token, "second", "aa").await;
    for again in [&second, &third] {
        assert_eq!(
            (&again.node_id, again.approval),
            (&first.node_id, Approval::Approved)
        );
    }
    Device::new(third).heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn other_hardware_is_no_way_out_of_a_suspension(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let device = Device::new(registered(&cloudly, &token, "second", "aa").await);
    cloudly.decide(&device, "suspend").await;
    let refused = cloudly.register_as(&token, "second", hardware("bb")).await;
    assert_refused(&problem(refused).await);
    assert_eq!(cloudly.refusals().await, ["otherHardware"]);
    let again = registered(&cloudly, &token, "second", "aa").await;
    assert_eq!(again.node_id, device.id);
}
