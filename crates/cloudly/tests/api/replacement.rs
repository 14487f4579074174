//! Registrations with the hardware of a known node (contract §3.4).

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, ok, start_time};
use baseos_interfaces::admin::{JoinTokenRecord, NodeRecord, Page};
use baseos_interfaces::register::{Approval, RegisterAnswer};
use reqwest::Method;
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
    let mut new = Device::new(new);
    new.heartbeat(&cloudly).await;
    let other = cloudly.node(&new).await.same_hardware.unwrap();
    assert_eq!(
        (other.id.as_str(), other.name.as_str()),
        (old.id.as_str(), "edge")
    );
    let listed: Vec<NodeRecord> = cloudly.list("nodes", 10).await;
    let named: Vec<_> = listed
        .iter()
        .filter_map(|node| Some((node.id.as_str(), node.same_hardware.as_ref()?.id.as_str())))
        .collect();
    assert_eq!(named, [(new.id.as_str(), old.id.as_str())]);
    let lines = cloudly.audit().await;
    let (_, registered) = lines
        .iter()
        .find(|(_, data)| data["approval"] == "pending")
        .unwrap();
    assert_eq!(
        registered["sameHardware"],
        json!({ "id": old.id, "name": "edge" })
    );
    cloudly.decide(&old, "remove").await;
    assert_eq!(cloudly.node(&new).await.same_hardware, None);
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

/// A node with this hardware that has been heard from.
async fn heard(cloudly: &Cloudly, id: &str, fleet: Option<&str>) -> Device {
    let token = cloudly.join_token(json!({ "fleet": fleet })).await;
    let registered = cloudly.register_as(&token, "first", hardware(id)).await;
    let mut device = Device::new(ok(registered).await);
    device.heartbeat(cloudly).await;
    device
}

async fn replaced_by(cloudly: &Cloudly, registration: &str, token: Value, node: Value) -> RegisterAnswer {
    let token = cloudly.join_token(token).await;
    ok(cloudly.register_as(&token, registration, node).await).await
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_is_as_it_was_until_its_replacement_is_heard(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa", None).await;
    let before = cloudly.node(&old).await;
    let token = json!({ "allowReplace": true, "labels": { "tier": "gold" } });
    let node = json!({ "name": "renamed", "agentVersion": "0.2.0", "hardwareId": "sha256:aa" });
    let mut new = Device::new(replaced_by(&cloudly, "second", token, node).await);
    assert_eq!((&new.id, cloudly.node(&old).await), (&old.id, before));
    old.heartbeat(&cloudly).await;
    new.run = "r_2".to_owned();
    new.heartbeat(&cloudly).await;
    let after = cloudly.node(&old).await;
    assert_eq!(
        (after.name.as_str(), after.labels["tier"].as_str()),
        ("renamed", "gold")
    );
    assert_eq!(after.facts.agent_version, "0.2.0");
    assert_eq!(old.refused(&cloudly).await.code, "nodeTokenInvalid");
    assert_eq!(cloudly.audit().await[0].0, "node.replaced");
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_outlives_a_new_token_of_the_node(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa", None).await;
    let new = replaced_by(
        &cloudly,
        "second",
        json!({ "allowReplace": true }),
        hardware("aa"),
    )
    .await;
    cloudly.command(&old, json!({ "type": "rotateToken" })).await;
    old.token = old.rotated_token(&cloudly).await;
    old.heartbeat(&cloudly).await;
    Device::new(new).heartbeat(&cloudly).await;
    assert_eq!(old.refused(&cloudly).await.code, "nodeTokenInvalid");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_that_waits_for_approval_takes_it_from_the_node_only_when_heard(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.set_target(COMMIT).await;
    let mut old = heard(&cloudly, "aa", None).await;
    let token = json!({ "allowReplace": true, "requireApproval": true });
    let answer = replaced_by(&cloudly, "second", token, hardware("aa")).await;
    assert_eq!(answer.approval, Approval::Pending);
    assert!(old.heartbeat(&cloudly).await.instructions.desired.is_some());
    let mut new = Device::new(answer);
    new.run = "r_2".to_owned();
    let told = new.heartbeat(&cloudly).await.instructions;
    assert_eq!((told.approval, told.desired), (Some(Approval::Pending), None));
    cloudly.decide(&new, "approve").await;
    assert!(new.heartbeat(&cloudly).await.instructions.desired.is_some());
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_of_another_fleet_is_not_replaced(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for (hardware_id, fleet) in [("aa", Some("edge")), ("bb", None)] {
        let old = heard(&cloudly, hardware_id, fleet).await;
        for token in [
            json!({ "allowReplace": true, "fleet": "core" }),
            json!({ "allowReplace": true }),
        ] {
            let same = token["fleet"].as_str() == fleet;
            let answer = replaced_by(&cloudly, "second", token, hardware(hardware_id)).await;
            assert_eq!(answer.node_id == old.id, same);
            let reason = (!same).then_some("possibleReplacement");
            assert_eq!(answer.approval_reason.as_deref(), reason);
        }
    }
    let old = heard(&cloudly, "cc", Some("edge")).await;
    let token = json!({ "allowReplace": true, "fleet": "edge" });
    assert_eq!(
        replaced_by(&cloudly, "second", token, hardware("cc"))
            .await
            .node_id,
        old.id
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn of_two_replacements_the_first_one_heard_counts_and_the_other_loses_no_use(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa", None).await;
    let token = cloudly
        .join_token(json!({ "maxUses": 2, "allowReplace": true }))
        .await;
    let register = async |registration: &str| -> Device {
        Device::new(ok(cloudly.register_as(&token, registration, hardware("aa")).await).await)
    };
    let (mut one, mut two) = (register("one").await, register("two").await);
    one.heartbeat(&cloudly).await;
    for device in [&mut old, &mut two] {
        assert_eq!(device.refused(&cloudly).await.code, "nodeTokenInvalid");
    }
    // It has its use still, and is as good as new.
    let mut two = register("two").await;
    assert_eq!(two.id, one.id);
    two.heartbeat(&cloudly).await;
    assert_eq!(one.refused(&cloudly).await.code, "nodeTokenInvalid");

    let three = cloudly.join_token(json!({ "allowReplace": true })).await;
    cloudly.register_as(&three, "three", hardware("aa")).await;
    two.heartbeat(&cloudly).await;
    cloudly.clock.advance(16 * 60);
    let uses: Vec<JoinTokenRecord> = cloudly.list("join-tokens", 10).await;
    let mut uses: Vec<_> = uses.iter().map(|token| token.uses).collect();
    uses.sort_unstable();
    assert_eq!(uses, [0, 1, 2], "the one that was not heard gets its use back");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_late_replacement_takes_its_use_again(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let old = heard(&cloudly, "aa", None).await;
    let new = replaced_by(
        &cloudly,
        "second",
        json!({ "allowReplace": true }),
        hardware("aa"),
    )
    .await;
    cloudly.clock.advance(16 * 60);
    let _: Value = cloudly.get("join-tokens").await;
    assert_eq!(cloudly.node(&old).await.lifecycle, "active");
    Device::new(new).heartbeat(&cloudly).await;
    let tokens: Vec<JoinTokenRecord> = cloudly.list("join-tokens", 10).await;
    assert!(tokens.iter().all(|token| token.uses == 1));
}

#[apply(each_engine)]
#[tokio::test]
async fn what_an_operator_decided_of_a_node_counts_for_its_replacement(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let old = heard(&cloudly, "aa", None).await;
    let new = replaced_by(
        &cloudly,
        "second",
        json!({ "allowReplace": true }),
        hardware("aa"),
    )
    .await;
    let mut new = Device::new(new);
    for (decision, code) in [("suspend", "nodeSuspended"), ("remove", "nodeRemoved")] {
        cloudly.decide(&old, decision).await;
        assert_eq!(new.refused(&cloudly).await.code, code);
    }
    cloudly.decide(&old, "restore").await;
    new.heartbeat(&cloudly).await;
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

/// It would be a way to take over a node at any time.
#[apply(each_engine)]
#[tokio::test]
async fn a_replacement_takes_no_effect_once_its_join_token_is_void(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut old = heard(&cloudly, "aa", None).await;
    let replacing = async |registration: &str| {
        let token = json!({ "allowReplace": true, "ttlSeconds": 3600 });
        Device::new(replaced_by(&cloudly, registration, token, hardware("aa")).await)
    };
    let mut revoked = replacing("second").await;
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    let replaces = tokens.items.iter().filter(|token| token.allow_replace);
    for token in replaces {
        let path = format!("join-tokens/{}", token.id);
        ok::<Value>(cloudly.admin(Method::DELETE, &path).send().await.unwrap()).await;
    }
    assert_eq!(revoked.refused(&cloudly).await.status, 401);
    let mut expired = replacing("third").await;
    cloudly.clock.advance(3601);
    old.heartbeat(&cloudly).await;
    assert_eq!(expired.refused(&cloudly).await.status, 401);
    old.heartbeat(&cloudly).await;
}
