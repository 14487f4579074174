//! Heartbeats (contract §4).

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, ok, problem, status};
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::token::TokenKind;
use cloudly_baseos::{Rate, mint};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

#[apply(each_engine)]
#[tokio::test]
async fn the_full_status_is_requested_once_at_first(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    assert!(device.heartbeat(&cloudly).await.instructions.resend_full_status);
    assert!(
        !device
            .report(&cloudly, status("idle", None, None))
            .await
            .instructions
            .resend_full_status
    );
    assert!(!device.heartbeat(&cloudly).await.instructions.resend_full_status);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_gap_in_the_sequence_requests_the_full_status(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.sequence += 1;
    assert!(device.heartbeat(&cloudly).await.instructions.resend_full_status);
    assert!(!device.heartbeat(&cloudly).await.instructions.resend_full_status);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_new_run_without_a_status_requests_it(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.run = "r_2".to_owned();
    device.sequence = 0;
    assert!(device.heartbeat(&cloudly).await.instructions.resend_full_status);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_unknown_status_hash_requests_the_full_status_until_it_arrives(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    device.hash = "another".to_owned();
    assert!(device.heartbeat(&cloudly).await.instructions.resend_full_status);
    assert!(
        device.heartbeat(&cloudly).await.instructions.resend_full_status,
        "until it comes"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn repeated_events_are_stored_once_in_order_of_arrival(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let event = |id: &str| json!({ "id": id, "at": "2026-11-23T11:00:00Z", "type": "transition", "data": { "to": id } });
    device
        .heartbeat_with(&cloudly, json!({ "events": [event("e_1"), event("e_2")] }))
        .await;
    device
        .heartbeat_with(&cloudly, json!({ "events": [event("e_2"), event("e_3")] }))
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

#[apply(each_engine)]
#[tokio::test]
async fn the_interval_is_short_while_an_update_is_under_way(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.set_target(COMMIT).await;
    let mut intervals = Vec::new();
    for (state, running) in [("idle", None), ("applying", None), ("succeeded", Some(COMMIT))] {
        let answer = device
            .report(&cloudly, status(state, Some(COMMIT), running))
            .await;
        intervals.push(answer.instructions.next_heartbeat_seconds);
    }
    assert_eq!(intervals, [15, 15, 60]);
}

#[apply(each_engine)]
#[tokio::test]
async fn clock_skew_is_a_health_issue_of_the_node(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let codes = |node: NodeRecord| -> Vec<IssueCode> {
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
        .heartbeat_with(&cloudly, json!({ "sentAt": "2026-11-23T12:05:01Z" }))
        .await;
    assert_eq!(codes(cloudly.node(&device).await), ["clockSkew"]);
    device
        .heartbeat_with(&cloudly, json!({ "sentAt": "2026-11-23T11:55:00Z" }))
        .await;
    assert!(codes(cloudly.node(&device).await).is_empty());
}

#[apply(each_engine)]
#[tokio::test]
async fn the_rollout_state_is_derived_from_the_update_not_from_the_report(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let mut report = status("verifying", Some(COMMIT), Some(COMMIT));
    report["rollout"] = json!({ "id": "rol_1", "state": "succeeded" });
    device.report(&cloudly, report).await;
    let rollout = cloudly.node(&device).await.status.unwrap().rollout.unwrap();
    assert_eq!(rollout.state.unwrap().as_str(), "applying");
}

#[apply(each_engine)]
#[tokio::test]
async fn unknown_values_of_a_newer_agent_are_accepted(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let mut report = status("dreaming", None, None);
    report["mood"] = json!("fine");
    device.report(&cloudly, report).await;
    assert_eq!(
        cloudly.node(&device).await.status.unwrap().update.state.as_str(),
        "unknown"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn too_many_heartbeats_are_refused_with_retry_after(engine: Engine) {
    let cloudly = Cloudly::start_with(engine, |settings| {
        settings.node_rate = Rate {
            burst: 3,
            per_second: 0.1,
        };
    })
    .await;
    let mut device = cloudly.enrol("edge").await;
    for _ in 0..3 {
        device.heartbeat(&cloudly).await;
    }
    let heartbeat = device.next(json!({}));
    let response = device.send(&cloudly, &heartbeat).await;
    assert_eq!(response.headers()["retry-after"], "10");
    let refused = problem(response).await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "rateLimited"));
    assert!(refused.retryable);
    cloudly.clock.advance(10);
    device.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn wrong_tokens_are_limited_by_address_while_right_ones_pass(engine: Engine) {
    let cloudly = Cloudly::start_with(engine, |settings| {
        settings.failure_rate = Rate {
            burst: 2,
            per_second: 0.1,
        };
    })
    .await;
    let mut device = cloudly.enrol("edge").await;
    let mut unknown = device.clone();
    unknown.token = mint(TokenKind::Node).unwrap().expose().to_owned();
    assert_eq!(unknown.refused(&cloudly).await.status, 401);
    assert_eq!(unknown.refused(&cloudly).await.status, 401);
    assert_eq!(unknown.refused(&cloudly).await.status, 429);
    device.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_short_interval_lowers_the_shortest_allowed_one(engine: Engine) {
    let cloudly = Cloudly::start_with(engine, |settings| settings.heartbeat_seconds = 2).await;
    let token = cloudly.join_token(json!({})).await;
    let answer: Value = ok(cloudly.register(&token, "reg-1").await).await;
    assert_eq!(answer["nextHeartbeatSeconds"], 2);
    assert_eq!(answer["limits"]["minHeartbeatSeconds"], 2);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_zero_character_in_a_report_or_a_path_is_no_failure_of_the_database(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let result = json!({ "id": "cmd_\0", "state": "succeeded", "finishedAt": "2026-11-23T12:00:00Z", "message": "\0" });
    let status = status("idle", Some("1f0a9be\0"), Some("1f0a9be\0"));
    let more = json!({ "status": status, "commandResults": [result] });
    device.heartbeat_with(&cloudly, more).await;
    let stored = cloudly.node(&device).await.status.unwrap();
    assert_eq!(stored.update.target.as_deref(), Some("1f0a9be\0"));
    for path in ["nodes/a%00b", "nodes/a%00b/commands", "nodes/a%00b/desired"] {
        let problem = cloudly.refused(Method::GET, path, json!({})).await;
        assert_eq!(problem.code, "notFound", "{path}");
    }
}
