//! Registration (contract §3).

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, assert_refused, forged, ok, problem, start_time};
use baseos_interfaces::admin::{JoinTokenRecord, Page};
use baseos_interfaces::register::{Approval, RegisterAnswer};
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::{Rate, mint};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn a_node_enrols_with_a_join_token_and_its_record_has_what_it_sent(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly
        .join_token(json!({ "fleet": "edge", "labels": { "tier": "gold" } }))
        .await;
    let node = json!({ "name": "edge-berlin-04", "agentVersion": "0.1.0", "balenaUuid": "9d59" });
    let response = cloudly.register_as(&token, "reg-1", node).await;
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key("x-request-id"));
    let answer: RegisterAnswer = ok(response).await;
    assert!(answer.node_id.starts_with("node_"));
    assert!(Token::parse(TokenKind::Node, answer.node_token.expose()).is_ok());
    assert_eq!(answer.approval, Approval::Approved);
    let fleet = answer.fleet.clone().unwrap();
    assert_eq!((fleet.id.as_str(), fleet.name.as_str()), ("flt_edge", "edge"));
    assert_eq!(answer.limits.min_heartbeat_seconds, 10);
    assert_eq!(answer.limits.max_body_bytes, 65_536);
    assert_eq!(answer.server_time, start_time());

    let node = cloudly.node(&Device::new(answer)).await;
    assert_eq!(node.name, "edge-berlin-04");
    assert_eq!(node.facts.balena_uuid.as_deref(), Some("9d59"));
    assert_eq!(node.labels["site"], "berlin");
    assert_eq!(node.labels["tier"], "gold");
    assert_eq!(node.lifecycle, "active");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_repeated_registration_takes_no_use_and_gets_the_same_node_with_a_new_token(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let first: RegisterAnswer = ok(cloudly.register(&token, "reg-1").await).await;
    let again = cloudly.register(&token, "reg-1").await;
    assert_eq!(again.status(), 200);
    let again: RegisterAnswer = ok(again).await;
    assert_eq!(again.node_id, first.node_id);
    assert_ne!(again.node_token.expose(), first.node_token.expose());
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!(tokens.items[0].uses, 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_confirmed_registration_cannot_be_repeated_into_a_new_token(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut device = cloudly.register_ok(&token, "reg-1").await;
    device.heartbeat(&cloudly).await;
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["confirmed"]);
    device.heartbeat(&cloudly).await;
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!(tokens.items[0].uses, 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn the_first_use_of_a_new_token_invalidates_the_earlier_unused_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut first = cloudly.register_ok(&token, "reg-1").await;
    let mut fresh = cloudly.register_ok(&token, "reg-1").await;
    fresh.heartbeat(&cloudly).await;
    assert_eq!(first.refused(&cloudly).await.code, "nodeTokenInvalid");
    fresh.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn the_last_two_tokens_of_a_repeated_registration_are_both_valid(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut devices = Vec::new();
    for _ in 0..4 {
        devices.push(cloudly.register_ok(&token, "reg-1").await);
    }
    assert_eq!(devices[0].refused(&cloudly).await.status, 401);
    assert_eq!(devices[1].refused(&cloudly).await.status, 401);
    devices[2].heartbeat(&cloudly).await;
    devices[3].heartbeat(&cloudly).await;
    assert_eq!(devices[2].refused(&cloudly).await.status, 401);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_expired_join_token_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "ttlSeconds": 60 })).await;
    cloudly.clock.advance(60);
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["expired"]);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_registration_may_be_repeated_after_the_join_token_expired(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "ttlSeconds": 60 })).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    cloudly.clock.advance(120);
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 200);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_revoked_join_token_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 5 })).await;
    let id = Token::parse(TokenKind::Join, &token).unwrap().id().to_string();
    let revoked = cloudly
        .admin(Method::DELETE, &format!("join-tokens/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 204);
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["revoked"]);
}

#[apply(each_engine)]
#[tokio::test]
async fn unknown_and_malformed_join_tokens_get_the_same_answer_as_others(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let unknown = mint(TokenKind::Join).unwrap();
    assert_refused(&problem(cloudly.register(unknown.expose(), "reg-1").await).await);
    assert_refused(&problem(cloudly.register("szj_nonsense", "reg-2").await).await);
    assert_eq!(cloudly.refusals().await, ["malformed", "unknown"]);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_join_token_with_a_known_id_and_a_wrong_secret_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let real = cloudly.join_token(json!({})).await;
    let forged = forged(TokenKind::Join, &real[4..14]);
    assert_refused(&problem(cloudly.register(forged.expose(), "reg-1").await).await);
    assert_eq!(cloudly.register(&real, "reg-2").await.status(), 201);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_pending_node_gets_no_desired_state_and_no_commands_until_approved(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.set_target(COMMIT).await;
    let token = cloudly.join_token(json!({ "requireApproval": true })).await;
    let answer: RegisterAnswer = ok(cloudly.register(&token, "reg-1").await).await;
    assert_eq!(answer.approval, Approval::Pending);
    assert_eq!(answer.approval_reason.as_deref(), Some("approvalRequired"));
    let mut device = Device::new(answer);
    cloudly.command(&device, json!({ "type": "checkNow" })).await;
    let instructions = device.heartbeat(&cloudly).await.instructions;
    assert_eq!(instructions.approval, Some(Approval::Pending));
    assert!(instructions.desired.is_none() && instructions.commands.is_empty());

    cloudly.decide(&device, "approve").await;
    let instructions = device.heartbeat(&cloudly).await.instructions;
    assert_eq!(instructions.approval, Some(Approval::Approved));
    assert_eq!(instructions.desired.unwrap().app.unwrap().release.commit, COMMIT);
    assert_eq!(instructions.commands.len(), 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_removed_node_cannot_repeat_its_registration(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut device = cloudly.register_ok(&token, "reg-1").await;
    device.heartbeat(&cloudly).await;
    cloudly.decide(&device, "remove").await;
    assert_refused(&problem(cloudly.register(&token, "reg-1").await).await);
    assert_eq!(cloudly.refusals().await, ["nodeRemoved"]);
}

#[apply(each_engine)]
#[tokio::test]
async fn repetitions_of_one_registration_are_rate_limited(engine: Engine) {
    let cloudly = Cloudly::start_with(engine, |settings| {
        settings.node_rate = Rate {
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

#[apply(each_engine)]
#[tokio::test]
async fn an_older_protocol_is_refused_and_a_newer_one_accepted(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
