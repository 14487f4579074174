//! The audit log.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, ok};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

#[apply(each_engine)]
#[tokio::test]
async fn a_forced_target_is_audited_with_who_and_why(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
    let force = json!({ "by": "ann", "reason": "security fix" });
    let _: Value = cloudly
        .put(
            "desired",
            json!({ "commit": COMMIT, "policy": { "force": force } }),
        )
        .await;
    let (action, data) = cloudly.audit().await.remove(0);
    assert_eq!(action, "desired.set");
    let audited = json!({ "by": "ann", "reason": "security fix", "expiresAt": "2026-11-24T12:00:00Z" });
    assert_eq!(data["force"], audited);
}

#[apply(each_engine)]
#[tokio::test]
async fn the_policy_that_is_set_with_a_target_is_audited_in_full(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
    let policy = json!({ "maxAttempts": 7, "requireRollback": true });
    let _: Value = cloudly
        .put("desired", json!({ "commit": COMMIT, "policy": policy }))
        .await;
    let shown: Value = cloudly.get("desired").await;
    let (_, data) = cloudly.audit().await.remove(0);
    assert_eq!(data["policy"], shown["policy"], "members left out too");
    assert_eq!(data["policy"]["maxAttempts"], 7);
    assert_eq!(data["policy"]["healthSeconds"], 120);
}

#[apply(each_engine)]
#[tokio::test]
async fn every_change_by_an_operator_is_audited_with_the_admin_token_id(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    let _: Value = cloudly.put(&own, json!({ "commit": COMMIT })).await;
    let _: Value = ok(cloudly.admin(Method::DELETE, &own).send().await.unwrap()).await;
    cloudly.command(&device, json!({ "type": "reboot" })).await;
    for decision in ["suspend", "suspend", "restore", "remove"] {
        cloudly.decide(&device, decision).await;
    }
    let page: Value = cloudly.get("audit").await;
    let operator = &cloudly.admin_token[4..14];
    let lines = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["actor"] == operator);
    let mut actions: Vec<_> = lines.map(|item| item["action"].as_str().unwrap()).collect();
    actions.reverse();
    let expected = [
        "joinToken.created",
        "release.created",
        "desired.set",
        "desired.set",
        "desired.unset",
        "command.created",
        "node.suspended",
        "node.restored",
        "node.removed",
    ];
    assert_eq!(actions, expected);
}
