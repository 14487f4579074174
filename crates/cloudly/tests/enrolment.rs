//! Registration (contract §3), over real HTTP against a server in this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::admin::{JoinTokenRecord, Page};
use baseos_interfaces::problem::Problem;
use baseos_interfaces::register::{Approval, RegisterAnswer};
use baseos_interfaces::token::{Token, TokenKind};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use support::{Cloudly, Device, good, problem};

fn hardware(id: &str) -> Value {
    json!({ "name": "edge", "agentVersion": "0.1.0", "hardwareId": format!("sha256:{id}") })
}

fn assert_refused(problem: &Problem) {
    assert_eq!((problem.status, problem.code.as_str()), (401, "joinTokenInvalid"));
    assert!(!problem.retryable);
    assert_eq!(
        problem.title, "the join token is not accepted",
        "every refusal looks the same"
    );
    assert_eq!(problem.detail, None);
}

#[tokio::test]
async fn a_node_enrols_with_a_join_token_and_is_known_by_what_it_said() {
    let cloudly = Cloudly::start().await;
    let token = cloudly
        .join_token(json!({ "fleet": "edge", "labels": { "tier": "gold" } }))
        .await;
    let node = json!({ "name": "edge-berlin-04", "agentVersion": "0.1.0", "balenaUuid": "9d59" });
    let response = cloudly.register_as(&token, "reg-1", node).await;
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key("x-request-id"));
    let answer: RegisterAnswer = good(response).await;
    assert!(answer.node_id.starts_with("node_"));
    assert!(Token::parse(TokenKind::Node, answer.node_token.expose()).is_ok());
    assert_eq!(answer.approval, Approval::Approved);
    let fleet = answer.fleet.clone().unwrap();
    assert_eq!((fleet.id.as_str(), fleet.name.as_str()), ("flt_edge", "edge"));
    assert_eq!(answer.limits.min_heartbeat_seconds, 10);
    assert_eq!(answer.limits.max_body_bytes, 65_536);
    assert_eq!(answer.server_time, support::start_time());

    let node = cloudly.node(&Device::new(answer)).await;
    assert_eq!(node.name, "edge-berlin-04");
    assert_eq!(node.facts.balena_uuid.as_deref(), Some("9d59"));
    assert_eq!(node.labels["site"], "berlin");
    assert_eq!(node.labels["tier"], "gold");
    assert_eq!(node.lifecycle, "active");
}

#[tokio::test]
async fn repeating_a_registration_spends_nothing_and_brings_the_same_node_a_fresh_token() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let first: RegisterAnswer = good(cloudly.register(&token, "reg-1").await).await;
    let again = cloudly.register(&token, "reg-1").await;
    assert_eq!(again.status(), 200);
    let again: RegisterAnswer = good(again).await;
    assert_eq!(again.node_id, first.node_id);
    assert_ne!(again.node_token.expose(), first.node_token.expose());
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!(tokens.items[0].uses, 1);
}

#[tokio::test]
async fn the_earlier_unused_token_dies_when_the_fresh_one_is_first_used() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut first = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    let mut fresh = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    fresh.beat(&cloudly).await;
    assert_eq!(first.refused(&cloudly).await.code, "nodeTokenInvalid");
    fresh.beat(&cloudly).await;
}

#[tokio::test]
async fn the_last_two_tokens_of_a_registration_that_was_repeated_often_both_work() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut devices = Vec::new();
    for _ in 0..4 {
        devices.push(Device::new(good(cloudly.register(&token, "reg-1").await).await));
    }
    assert_eq!(devices[0].refused(&cloudly).await.status, 401);
    assert_eq!(devices[1].refused(&cloudly).await.status, 401);
    devices[2].beat(&cloudly).await;
    devices[3].beat(&cloudly).await;
    assert_eq!(devices[2].refused(&cloudly).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_devices_racing_for_one_use_exactly_one_wins() {
    let cloudly = std::sync::Arc::new(Cloudly::start().await);
    let token = cloudly.join_token(json!({})).await;
    let racers = (0..24).map(|n| {
        let (cloudly, token) = (std::sync::Arc::clone(&cloudly), token.clone());
        tokio::spawn(async move {
            cloudly
                .register(&token, &format!("reg-{n}"))
                .await
                .status()
                .as_u16()
        })
    });
    let mut answers = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        answers.push(racer.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 23);
}

#[tokio::test]
async fn a_token_with_several_uses_enrols_so_many_nodes_and_no_more() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    assert_refused(&problem(cloudly.register(&token, "reg-3").await).await);
    assert_eq!(cloudly.refusals().await, ["spent"]);
}

#[tokio::test]
async fn an_expired_token_enrols_nobody() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "ttlSeconds": 60 })).await;
    cloudly.clock.advance(60);
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["expired"]);
}

#[tokio::test]
async fn a_registration_begun_in_time_may_be_repeated_after_the_token_expired() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "ttlSeconds": 60 })).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    cloudly.clock.advance(120);
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 200);
}

#[tokio::test]
async fn a_revoked_token_enrols_nobody() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 5 })).await;
    let id = Token::parse(TokenKind::Join, &token).unwrap().id().to_string();
    let revoked = cloudly
        .ask(Method::DELETE, &format!("join-tokens/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 204);
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["revoked"]);
}

#[tokio::test]
async fn unknown_and_malformed_tokens_look_like_any_other_refusal() {
    let cloudly = Cloudly::start().await;
    let stranger = cloudly_baseos::mint(TokenKind::Join).unwrap();
    assert_refused(&problem(cloudly.register(stranger.expose(), "reg-1").await).await);
    assert_refused(&problem(cloudly.register("szj_nonsense", "reg-2").await).await);
    assert_eq!(cloudly.refusals().await, ["malformed", "unknown"]);
}

#[tokio::test]
async fn a_token_with_the_right_id_and_a_wrong_secret_is_refused() {
    let cloudly = Cloudly::start().await;
    let real = cloudly.join_token(json!({})).await;
    let forged = support::forged(TokenKind::Join, &real[4..14]);
    assert_refused(&problem(cloudly.register(forged.expose(), "reg-1").await).await);
    assert_eq!(cloudly.register(&real, "reg-2").await.status(), 201);
}

#[tokio::test]
async fn a_use_that_no_heartbeat_confirms_is_given_back_after_fifteen_minutes() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    cloudly.clock.advance(15 * 60 - 1);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 401);
    cloudly.clock.advance(1);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(
        nodes["items"].as_array().unwrap().len(),
        1,
        "the abandoned node is gone"
    );
}

#[tokio::test]
async fn a_confirmed_use_is_never_given_back() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut device = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    device.beat(&cloudly).await;
    cloudly.clock.advance(16 * 60);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 401);
}

#[tokio::test]
async fn a_late_node_takes_its_use_again_when_nobody_else_has() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut late = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    cloudly.clock.advance(2 * 3600);
    let _: Value = cloudly.get("join-tokens").await;
    late.beat(&cloudly).await;
    assert_eq!(cloudly.node(&late).await.lifecycle, "active");
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!(tokens.items[0].uses, 1);
}

#[tokio::test]
async fn a_late_node_whose_use_another_one_has_is_refused() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut late = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    cloudly.clock.advance(16 * 60);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    assert_eq!(late.refused(&cloudly).await.code, "nodeTokenInvalid");
    assert_eq!(cloudly.audit().await[0].1["reason"], "joinTokenUseGivenBack");
}

#[tokio::test]
async fn a_pending_node_beats_but_nothing_is_desired_of_it_until_it_is_approved() {
    let cloudly = Cloudly::start().await;
    cloudly.release(support::COMMIT).await;
    let _: Value = cloudly.put("desired", json!({ "commit": support::COMMIT })).await;
    let token = cloudly.join_token(json!({ "requireApproval": true })).await;
    let answer: RegisterAnswer = good(cloudly.register(&token, "reg-1").await).await;
    assert_eq!(answer.approval, Approval::Pending);
    assert_eq!(answer.approval_reason.as_deref(), Some("approvalRequired"));
    let mut device = Device::new(answer);
    let _: Value = cloudly
        .post(
            &format!("nodes/{}/commands", device.id),
            json!({ "type": "checkNow" }),
        )
        .await;
    let orders = device.beat(&cloudly).await.orders;
    assert_eq!(orders.approval, Some(Approval::Pending));
    assert!(orders.desired.is_none() && orders.commands.is_empty());

    let _: Value = cloudly
        .post(&format!("nodes/{}/approve", device.id), json!({}))
        .await;
    let orders = device.beat(&cloudly).await.orders;
    assert_eq!(orders.approval, Some(Approval::Approved));
    assert_eq!(
        orders.desired.unwrap().app.unwrap().release.commit,
        support::COMMIT
    );
    assert_eq!(orders.commands.len(), 1);
}

#[tokio::test]
async fn the_same_hardware_waits_for_approval_as_a_possible_replacement() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut old = Device::new(good(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    old.beat(&cloudly).await;
    let new: RegisterAnswer = good(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_ne!(new.node_id, old.id);
    assert_eq!(new.approval, Approval::Pending);
    assert_eq!(new.approval_reason.as_deref(), Some("possibleReplacement"));
    old.beat(&cloudly).await;
}

#[tokio::test]
async fn a_token_that_allows_replacement_gives_the_same_hardware_its_node_and_history_back() {
    let cloudly = Cloudly::start().await;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "allowReplace": true }))
        .await;
    let mut old = Device::new(good(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    let event = json!({ "id": "e_01", "at": "2026-11-23T12:00:00Z", "type": "transition", "data": {} });
    old.beat_with(&cloudly, json!({ "events": [event] })).await;
    cloudly.clock.advance(60);
    let answer: RegisterAnswer = good(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_eq!(answer.node_id, old.id);
    assert_eq!(answer.approval, Approval::Approved);
    let mut new = Device::new(answer);
    new.run = "r_2".to_owned();
    old.beat(&cloudly).await;
    new.beat(&cloudly).await;
    assert_eq!(
        old.refused(&cloudly).await.status,
        401,
        "the old token dies with the first use of the new one"
    );
    let events: Value = cloudly.get(&format!("nodes/{}/events", new.id)).await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert_eq!(cloudly.node(&new).await.enrolled_at, support::start_time());
}

#[tokio::test]
async fn a_replacement_that_never_came_does_not_lock_the_old_node_out() {
    let cloudly = Cloudly::start().await;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "allowReplace": true }))
        .await;
    let mut old = Device::new(good(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    old.beat(&cloudly).await;
    assert_eq!(
        cloudly
            .register_as(&token, "reg-2", hardware("aa"))
            .await
            .status(),
        201
    );
    cloudly.clock.advance(16 * 60);
    // Its use goes to another node, so it could not be taken again.
    assert_eq!(
        cloudly
            .register_as(&token, "reg-3", hardware("bb"))
            .await
            .status(),
        201
    );
    let path = format!("nodes/{}/commands", old.id);
    let _: Value = cloudly.post(&path, json!({ "type": "rotateToken" })).await;
    old.token = old
        .beat(&cloudly)
        .await
        .credentials
        .unwrap()
        .node_token
        .expose()
        .to_owned();
    old.beat(&cloudly).await;
}

#[tokio::test]
async fn a_node_that_never_confirmed_does_not_count_as_the_same_hardware() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    assert_eq!(
        cloudly
            .register_as(&token, "reg-1", hardware("aa"))
            .await
            .status(),
        201
    );
    let second: RegisterAnswer = good(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_eq!(second.approval, Approval::Approved);
}

#[tokio::test]
async fn a_removed_node_cannot_come_back_by_repeating_its_registration() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let mut device = Device::new(good(cloudly.register(&token, "reg-1").await).await);
    device.beat(&cloudly).await;
    let _: Value = cloudly
        .post(&format!("nodes/{}/remove", device.id), json!({}))
        .await;
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["nodeRemoved"]);
}

#[tokio::test]
async fn repeating_a_registration_without_end_is_slowed_down() {
    let cloudly = Cloudly::start_with(|settings| {
        settings.node_rate = cloudly_baseos::Rate {
            burst: 2,
            per_second: 1.0,
        };
    })
    .await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 200);
    assert_eq!(problem(cloudly.register(&token, "reg-1").await).await.status, 429);
    assert_eq!(
        cloudly.register(&token, "reg-2").await.status(),
        201,
        "others are not held up"
    );
}

#[tokio::test]
async fn an_older_protocol_is_told_so_and_a_newer_one_is_accepted() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({})).await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let mut body = json!({
        "protocolVersion": 0, "joinToken": token, "registrationId": "reg-1",
        "node": { "name": "edge", "agentVersion": "0.1.0" },
    });
    let refused = problem(cloudly.http.post(&url).json(&body).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.code.as_str()), (426, "protocolTooOld"));
    body["protocolVersion"] = json!(7);
    assert_eq!(
        cloudly.http.post(&url).json(&body).send().await.unwrap().status(),
        201
    );
}

/// Always the same, so that a restart is given it again.
fn configured_token() -> Token {
    Token::mint(TokenKind::Join, |bytes| bytes.fill(0))
}

#[tokio::test]
async fn the_configured_token_is_good_for_a_day_from_the_first_start_that_saw_it() {
    let mut cloudly = Cloudly::start_with(|settings| {
        settings.baseos_join_token = Some(SecretString::from(configured_token().expose()));
        settings.baseos_join_token_uses = 2;
    })
    .await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-1")
            .await
            .status(),
        201
    );
    cloudly.clock.advance(23 * 3600);
    cloudly.restart().await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-2")
            .await
            .status(),
        201
    );
    cloudly.clock.advance(3600);
    cloudly.restart().await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-3")
            .await
            .status(),
        401
    );
}

#[tokio::test]
async fn a_configured_token_with_a_typing_error_keeps_the_server_from_starting() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut settings = cloudly_baseos::Settings::new(dir.path().join("c.db"));
    let typo = configured_token().expose().replace("0_0", "0_1");
    settings.baseos_join_token = Some(SecretString::from(typo.as_str()));
    let clock = cloudly_baseos::Clock::manual(support::start_time());
    let error = cloudly_baseos::Server::bind(settings, clock)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("CLOUDLY_BASEOS_JOIN_TOKEN"), "{error}");
    assert!(!error.contains(&typo));
}
