//! Heartbeats (contract §4), over real HTTP against a server in this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::admin::CommandRecord;
use baseos_interfaces::command::{CommandAction, CommandState};
use reqwest::Method;
use serde_json::{Value, json};
use support::{COMMIT, Cloudly, Device, OTHER_COMMIT, problem, status};

async fn desire(cloudly: &Cloudly, commit: &str) -> u64 {
    cloudly.release(commit).await;
    let set: Value = cloudly.put("desired", json!({ "commit": commit })).await;
    set["revision"].as_u64().unwrap()
}

async fn command(cloudly: &Cloudly, device: &Device, wish: Value) -> CommandRecord {
    cloudly.post(&format!("nodes/{}/commands", device.id), wish).await
}

fn result(id: &str, state: &str) -> Value {
    json!({ "id": id, "state": state, "finishedAt": "2026-11-23T12:00:05Z", "message": "done" })
}

async fn desired_commit(device: &mut Device, cloudly: &Cloudly) -> Option<String> {
    let desired = device.beat(cloudly).await.orders.desired.unwrap();
    device.observed = desired.revision;
    desired.app.map(|app| app.release.commit)
}

#[tokio::test]
async fn the_first_heartbeat_is_asked_for_the_full_status_and_the_next_one_is_not() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    assert!(device.beat(&cloudly).await.orders.resend_full_status);
    assert!(
        !device
            .report(&cloudly, status("idle", None, None))
            .await
            .orders
            .resend_full_status
    );
    assert!(!device.beat(&cloudly).await.orders.resend_full_status);
}

#[tokio::test]
async fn a_gap_in_the_sequence_makes_cloudly_ask_for_everything() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.sequence += 1;
    assert!(device.beat(&cloudly).await.orders.resend_full_status);
    assert!(!device.beat(&cloudly).await.orders.resend_full_status);
}

#[tokio::test]
async fn a_new_run_without_a_status_is_asked_for_it() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.run = "r_2".to_owned();
    device.sequence = 0;
    assert!(device.beat(&cloudly).await.orders.resend_full_status);
}

#[tokio::test]
async fn a_status_hash_cloudly_does_not_have_makes_it_ask() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.hash = "another".to_owned();
    assert!(device.beat(&cloudly).await.orders.resend_full_status);
    assert!(
        device.beat(&cloudly).await.orders.resend_full_status,
        "until it comes"
    );
}

#[tokio::test]
async fn desired_is_sent_until_the_node_works_on_it_and_then_left_out() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    assert!(
        device.beat(&cloudly).await.orders.desired.is_none(),
        "nothing was ever desired"
    );
    let revision = desire(&cloudly, COMMIT).await;
    let desired = device.beat(&cloudly).await.orders.desired.unwrap();
    assert_eq!(desired.revision, revision);
    assert_eq!(
        desired.app.unwrap().release.services["onebox"].image,
        "registry.example/onebox:1"
    );
    assert!(
        device.beat(&cloudly).await.orders.desired.is_some(),
        "the answer may have been lost"
    );
    device.observed = revision;
    assert!(device.beat(&cloudly).await.orders.desired.is_none());
    let record = cloudly.node(&device).await;
    assert_eq!(
        (record.desired_revision, record.observed_revision),
        (revision, revision)
    );
    assert_eq!(record.desired_commit.as_deref(), Some(COMMIT));
}

#[tokio::test]
async fn a_nodes_own_setting_wins_and_going_back_to_the_one_for_all_raises_the_revision() {
    let cloudly = Cloudly::start().await;
    let (mut one, mut other) = (cloudly.enrol("one").await, cloudly.enrol("other").await);
    desire(&cloudly, COMMIT).await;
    cloudly.release(OTHER_COMMIT).await;
    let own = format!("nodes/{}/desired", one.id);
    let _: Value = cloudly.put(&own, json!({ "commit": OTHER_COMMIT })).await;
    assert_eq!(
        desired_commit(&mut one, &cloudly).await.as_deref(),
        Some(OTHER_COMMIT)
    );
    assert_eq!(
        desired_commit(&mut other, &cloudly).await.as_deref(),
        Some(COMMIT)
    );
    let before = one.observed;
    let gone = cloudly.ask(Method::DELETE, &own).send().await.unwrap();
    assert_eq!(gone.status(), 200);
    assert_eq!(desired_commit(&mut one, &cloudly).await.as_deref(), Some(COMMIT));
    assert!(one.observed > before);
    assert!(
        other.beat(&cloudly).await.orders.desired.is_none(),
        "nothing changed for the other node"
    );
}

#[tokio::test]
async fn nothing_desired_is_said_explicitly() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    desire(&cloudly, COMMIT).await;
    desired_commit(&mut device, &cloudly).await;
    let _: Value = cloudly.put("desired", json!({ "commit": null })).await;
    let desired = device.beat(&cloudly).await.orders.desired.unwrap();
    assert!(desired.revision > device.observed);
    assert!(desired.app.is_none());
}

#[tokio::test]
async fn a_node_that_has_seen_more_than_cloudly_knows_is_sent_nothing_lower_and_the_next_wish_is_higher() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    desire(&cloudly, COMMIT).await;
    device.observed = 500;
    assert!(device.beat(&cloudly).await.orders.desired.is_none());
    let revision = desire(&cloudly, OTHER_COMMIT).await;
    assert_eq!(revision, 501);
    assert_eq!(
        desired_commit(&mut device, &cloudly).await.as_deref(),
        Some(OTHER_COMMIT)
    );
}

#[tokio::test]
async fn a_node_cannot_use_up_the_revisions() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.observed = (1 << 53) - 1;
    device.beat(&cloudly).await;
    assert_eq!(desire(&cloudly, COMMIT).await, 1);
}

#[tokio::test]
async fn events_are_kept_once_in_the_order_they_came() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let event = |id: &str| json!({ "id": id, "at": "2026-11-23T11:00:00Z", "type": "transition", "data": { "to": id } });
    device
        .beat_with(&cloudly, json!({ "events": [event("e_1"), event("e_2")] }))
        .await;
    device
        .beat_with(&cloudly, json!({ "events": [event("e_2"), event("e_3")] }))
        .await;
    let page: Value = cloudly.get(&format!("nodes/{}/events?limit=2", device.id)).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["event"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&page), ["e_3", "e_2"]);
    let cursor = page["next"].as_str().unwrap();
    let page: Value = cloudly
        .get(&format!("nodes/{}/events?limit=2&cursor={cursor}", device.id))
        .await;
    assert_eq!(ids(&page), ["e_1"]);
    assert!(page["next"].is_null());
}

#[tokio::test]
async fn a_command_repeats_until_its_result_arrives_and_the_first_result_counts() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let wish = json!({ "type": "restartService", "params": { "service": "onebox" } });
    let sent = command(&cloudly, &device, wish).await;
    for _ in 0..2 {
        let commands = device.beat(&cloudly).await.orders.commands;
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].id, sent.id);
        assert_eq!(
            commands[0].action,
            CommandAction::RestartService {
                service: "onebox".to_owned()
            }
        );
    }
    let answer = device
        .beat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "failed")] }),
        )
        .await;
    assert!(answer.orders.commands.is_empty());
    device
        .beat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    let page: Value = cloudly.get(&format!("nodes/{}/commands", device.id)).await;
    let record: CommandRecord = serde_json::from_value(page["items"][0].clone()).unwrap();
    assert_eq!(record.result.unwrap().state, CommandState::Failed);
}

#[tokio::test]
async fn an_expired_command_is_not_sent() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    command(&cloudly, &device, json!({ "type": "reboot", "ttlSeconds": 60 })).await;
    cloudly.clock.advance(60);
    assert!(device.beat(&cloudly).await.orders.commands.is_empty());
}

#[tokio::test]
async fn a_node_cannot_answer_another_nodes_command() {
    let cloudly = Cloudly::start().await;
    let (mut one, mut other) = (cloudly.enrol("one").await, cloudly.enrol("other").await);
    let sent = command(&cloudly, &one, json!({ "type": "checkNow" })).await;
    other
        .beat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    assert_eq!(one.beat(&cloudly).await.orders.commands.len(), 1);
}

#[tokio::test]
async fn rotation_delivers_the_same_new_token_until_it_is_used_and_then_the_old_one_dies() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.beat(&cloudly).await;
    let sent = command(&cloudly, &device, json!({ "type": "rotateToken" })).await;
    let first = device.beat(&cloudly).await.credentials.unwrap();
    let again = device.beat(&cloudly).await.credentials.unwrap();
    assert_eq!(first.node_token.expose(), again.node_token.expose());
    let mut old = device.clone();
    device.token = first.node_token.expose().to_owned();
    let answer = device.beat(&cloudly).await;
    assert!(answer.credentials.is_none(), "it has them now");
    assert_eq!(answer.orders.commands.len(), 1, "its result has not come yet");
    assert_eq!(old.refused(&cloudly).await.code, "nodeTokenInvalid");
    device
        .beat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    assert!(device.beat(&cloudly).await.orders.commands.is_empty());
}

#[tokio::test]
async fn rotation_survives_a_restart_of_cloudly_with_another_new_token() {
    let mut cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.beat(&cloudly).await;
    command(&cloudly, &device, json!({ "type": "rotateToken" })).await;
    device.beat(&cloudly).await.credentials.unwrap();
    cloudly.restart().await;
    device.token = device
        .beat(&cloudly)
        .await
        .credentials
        .unwrap()
        .node_token
        .expose()
        .to_owned();
    assert!(device.beat(&cloudly).await.credentials.is_none());
}

#[tokio::test]
async fn a_suspended_node_is_refused_until_it_is_restored() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let _: Value = cloudly
        .post(&format!("nodes/{}/suspend", device.id), json!({}))
        .await;
    let refused = device.refused(&cloudly).await;
    assert_eq!((refused.status, refused.code.as_str()), (403, "nodeSuspended"));
    assert_eq!(refused.next_heartbeat_seconds, Some(60));
    let _: Value = cloudly
        .post(&format!("nodes/{}/restore", device.id), json!({}))
        .await;
    device.beat(&cloudly).await;
}

#[tokio::test]
async fn a_removed_node_is_told_that_it_is_gone() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let _: Value = cloudly
        .post(&format!("nodes/{}/remove", device.id), json!({}))
        .await;
    let refused = device.refused(&cloudly).await;
    assert_eq!((refused.status, refused.code.as_str()), (410, "nodeRemoved"));
}

#[tokio::test]
async fn the_interval_is_short_while_an_update_is_under_way() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    desire(&cloudly, COMMIT).await;
    let mut told = Vec::new();
    for (state, running) in [("idle", None), ("applying", None), ("succeeded", Some(COMMIT))] {
        let answer = device
            .report(&cloudly, status(state, Some(COMMIT), running))
            .await;
        told.push(answer.orders.next_heartbeat_seconds);
    }
    assert_eq!(told, [15, 15, 60]);
}

#[tokio::test]
async fn a_clock_that_is_off_is_an_issue_of_the_node() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let codes = |node: baseos_interfaces::admin::NodeRecord| -> Vec<String> {
        node.status
            .unwrap()
            .health
            .issues
            .into_iter()
            .map(|issue| issue.code)
            .collect()
    };
    device.report(&cloudly, status("idle", None, None)).await;
    device
        .beat_with(&cloudly, json!({ "sentAt": "2026-11-23T12:05:01Z" }))
        .await;
    assert_eq!(codes(cloudly.node(&device).await), ["clockSkew"]);
    device
        .beat_with(&cloudly, json!({ "sentAt": "2026-11-23T11:55:00Z" }))
        .await;
    assert!(codes(cloudly.node(&device).await).is_empty());
}

#[tokio::test]
async fn the_rollout_state_is_derived_from_the_update_whatever_the_node_says() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let mut said = status("verifying", Some(COMMIT), Some(COMMIT));
    said["rollout"] = json!({ "id": "rol_1", "state": "succeeded" });
    device.report(&cloudly, said).await;
    let rollout = cloudly.node(&device).await.status.unwrap().rollout.unwrap();
    assert_eq!(rollout.state.unwrap().as_str(), "applying");
}

#[tokio::test]
async fn a_newer_agents_unknown_words_are_taken_in() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let mut said = status("dreaming", None, None);
    said["mood"] = json!("fine");
    device.report(&cloudly, said).await;
    assert_eq!(
        cloudly.node(&device).await.status.unwrap().update.state.as_str(),
        "unknown"
    );
}

#[tokio::test]
async fn a_node_that_asks_too_often_is_told_when_to_come_back() {
    let cloudly = Cloudly::start_with(|settings| {
        settings.node_rate = cloudly_baseos::Rate {
            burst: 3,
            per_second: 0.1,
        };
    })
    .await;
    let mut device = cloudly.enrol("edge").await;
    for _ in 0..3 {
        device.beat(&cloudly).await;
    }
    let beat = device.next(json!({}));
    let response = device.send(&cloudly, &beat).await;
    assert_eq!(response.headers()["retry-after"], "10");
    let refused = problem(response).await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "rateLimited"));
    assert!(refused.retryable);
    cloudly.clock.advance(10);
    device.beat(&cloudly).await;
}

#[tokio::test]
async fn wrong_tokens_are_limited_by_address_and_right_ones_still_pass() {
    let cloudly = Cloudly::start_with(|settings| {
        settings.failure_rate = cloudly_baseos::Rate {
            burst: 2,
            per_second: 0.1,
        };
    })
    .await;
    let mut device = cloudly.enrol("edge").await;
    let mut stranger = device.clone();
    stranger.token = cloudly_baseos::mint(baseos_interfaces::token::TokenKind::Node)
        .unwrap()
        .expose()
        .to_owned();
    assert_eq!(stranger.refused(&cloudly).await.status, 401);
    assert_eq!(stranger.refused(&cloudly).await.status, 401);
    assert_eq!(stranger.refused(&cloudly).await.status, 429);
    device.beat(&cloudly).await;
}

fn fast(settings: &mut cloudly_baseos::Settings) {
    settings.heartbeat_seconds = 2;
}

#[tokio::test]
async fn a_short_interval_shortens_the_shortest_allowed_one_too() {
    let cloudly = Cloudly::start_with(fast).await;
    let token = cloudly.join_token(json!({})).await;
    let answer: Value = support::good(cloudly.register(&token, "reg-1").await).await;
    assert_eq!(answer["nextHeartbeatSeconds"], 2);
    assert_eq!(answer["limits"]["minHeartbeatSeconds"], 2);
}
