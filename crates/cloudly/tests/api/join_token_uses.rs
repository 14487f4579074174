//! Uses of join tokens (contract §3.2).

use crate::each_engine;
use crate::support::{Cloudly, Engine, assert_refused, problem};
use baseos_interfaces::admin::{JoinTokenRecord, Page};
use rstest_reuse::apply;
use serde_json::{Value, json};
use std::sync::Arc;

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_registrations_gets_the_last_use(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let token = cloudly.join_token(json!({})).await;
    let registrations = (0..24).map(|n| {
        let (cloudly, token) = (Arc::clone(&cloudly), token.clone());
        tokio::spawn(async move {
            cloudly
                .register(&token, &format!("reg-{n}"))
                .await
                .status()
                .as_u16()
        })
    });
    let mut answers = Vec::new();
    for registration in registrations.collect::<Vec<_>>() {
        answers.push(registration.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 23);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_join_token_enrols_as_many_nodes_as_it_has_uses(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    assert_eq!(cloudly.register(&token, "reg-1").await.status(), 201);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    assert_refused(&problem(cloudly.register(&token, "reg-3").await).await);
    assert_eq!(cloudly.refusals().await, ["spent"]);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_unconfirmed_use_is_given_back_after_fifteen_minutes(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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

#[apply(each_engine)]
#[tokio::test]
async fn many_uses_of_several_tokens_are_given_back_at_once(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let tokens = [
        cloudly.join_token(json!({ "maxUses": 40 })).await,
        cloudly.join_token(json!({ "maxUses": 40 })).await,
    ];
    for n in 0..20 {
        let mut device = cloudly.register_ok(&tokens[n % 2], &format!("reg-{n}")).await;
        if n < 5 {
            device.heartbeat(&cloudly).await;
        }
    }
    cloudly.clock.advance(16 * 60);
    let _: Value = cloudly.get("join-tokens").await;
    let shown: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    let uses = |token: &str| {
        let record = shown.items.iter().find(|record| token.contains(&record.id));
        record.unwrap().uses
    };
    assert_eq!([uses(&tokens[0]), uses(&tokens[1])], [3, 2]);
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 5);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_confirmed_use_is_never_given_back(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut device = cloudly.register_ok(&token, "reg-1").await;
    device.heartbeat(&cloudly).await;
    cloudly.clock.advance(16 * 60);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 401);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_late_node_takes_its_use_again_if_one_is_left(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut late = cloudly.register_ok(&token, "reg-1").await;
    cloudly.clock.advance(2 * 3600);
    let _: Value = cloudly.get("join-tokens").await;
    late.heartbeat(&cloudly).await;
    assert_eq!(cloudly.node(&late).await.lifecycle, "active");
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    assert_eq!(tokens.items[0].uses, 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_late_node_is_refused_if_no_use_is_left(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut late = cloudly.register_ok(&token, "reg-1").await;
    cloudly.clock.advance(16 * 60);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    assert_eq!(late.refused(&cloudly).await.code, "nodeTokenInvalid");
    assert_eq!(cloudly.audit().await[0].1["reason"], "joinTokenUseGivenBack");
}
