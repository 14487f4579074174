//! Registrations with the hardware of a known node (contract §3.4).

use crate::each_engine;
use crate::support::{Cloudly, Device, Engine, ok, start_time};
use baseos_interfaces::register::{Approval, RegisterAnswer};
use rstest_reuse::apply;
use serde_json::{Value, json};

fn hardware(id: &str) -> Value {
    json!({ "name": "edge", "agentVersion": "0.1.0", "hardwareId": format!("sha256:{id}") })
}

#[apply(each_engine)]
#[tokio::test]
async fn a_second_node_with_the_same_hardware_waits_for_approval(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut old = Device::new(ok(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    old.heartbeat(&cloudly).await;
    let new: RegisterAnswer = ok(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_ne!(new.node_id, old.id);
    assert_eq!(new.approval, Approval::Pending);
    assert_eq!(new.approval_reason.as_deref(), Some("possibleReplacement"));
    old.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_gets_the_node_id_and_the_history_if_the_token_allows_it(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "allowReplace": true }))
        .await;
    let mut old = Device::new(ok(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    let event = json!({ "id": "e_01", "at": "2026-11-23T12:00:00Z", "type": "transition", "data": {} });
    old.heartbeat_with(&cloudly, json!({ "events": [event] })).await;
    cloudly.clock.advance(60);
    let answer: RegisterAnswer = ok(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_eq!(answer.node_id, old.id);
    assert_eq!(answer.approval, Approval::Approved);
    let mut new = Device::new(answer);
    new.run = "r_2".to_owned();
    old.heartbeat(&cloudly).await;
    new.heartbeat(&cloudly).await;
    assert_eq!(
        old.refused(&cloudly).await.status,
        401,
        "the first use of the new token invalidates the old one"
    );
    let events: Value = cloudly.get(&format!("nodes/{}/events", new.id)).await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert_eq!(cloudly.node(&new).await.enrolled_at, start_time());
}

#[apply(each_engine)]
#[tokio::test]
async fn an_unconfirmed_replacement_leaves_the_old_node_working(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "allowReplace": true }))
        .await;
    let mut old = Device::new(ok(cloudly.register_as(&token, "reg-1", hardware("aa")).await).await);
    old.heartbeat(&cloudly).await;
    assert_eq!(
        cloudly
            .register_as(&token, "reg-2", hardware("aa"))
            .await
            .status(),
        201
    );
    cloudly.clock.advance(16 * 60);
    // Another node gets its use, so that it could not take it again.
    assert_eq!(
        cloudly
            .register_as(&token, "reg-3", hardware("bb"))
            .await
            .status(),
        201
    );
    cloudly.command(&old, json!({ "type": "rotateToken" })).await;
    old.token = old.rotated_token(&cloudly).await;
    old.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn an_unconfirmed_node_does_not_count_as_the_same_hardware(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    assert_eq!(
        cloudly
            .register_as(&token, "reg-1", hardware("aa"))
            .await
            .status(),
        201
    );
    let second: RegisterAnswer = ok(cloudly.register_as(&token, "reg-2", hardware("aa")).await).await;
    assert_eq!(second.approval, Approval::Approved);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_takes_over_the_approved_node_and_not_its_pending_duplicate(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let plain = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut old = Device::new(ok(cloudly.register_as(&plain, "reg-1", hardware("aa")).await).await);
    old.heartbeat(&cloudly).await;
    cloudly.clock.advance(60);
    let pending: RegisterAnswer = ok(cloudly.register_as(&plain, "reg-2", hardware("aa")).await).await;
    assert_eq!(pending.approval_reason.as_deref(), Some("possibleReplacement"));
    Device::new(pending).heartbeat(&cloudly).await;

    let replacing = cloudly.join_token(json!({ "allowReplace": true })).await;
    // The first answer is lost.
    for status in [201, 200] {
        let response = cloudly.register_as(&replacing, "reg-3", hardware("aa")).await;
        assert_eq!(response.status(), status);
        let answer: RegisterAnswer = ok(response).await;
        assert_eq!(
            (answer.node_id, answer.approval),
            (old.id.clone(), Approval::Approved)
        );
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_takes_over_the_node_that_was_approved_last(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let plain = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut old = Device::new(ok(cloudly.register_as(&plain, "reg-1", hardware("aa")).await).await);
    old.heartbeat(&cloudly).await;
    cloudly.clock.advance(60);
    let mut new = Device::new(ok(cloudly.register_as(&plain, "reg-2", hardware("aa")).await).await);
    new.heartbeat(&cloudly).await;
    cloudly.decide(&new, "approve").await;
    let replacing = cloudly.join_token(json!({ "allowReplace": true })).await;
    let answer: RegisterAnswer = ok(cloudly.register_as(&replacing, "reg-3", hardware("aa")).await).await;
    assert_eq!((answer.node_id, answer.approval), (new.id, Approval::Approved));
}
