//! What operators do over the admin API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::admin::{DesiredRecord, JoinTokenRecord, NodeRecord, Page, ReleaseRecord};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{COMMIT, Cloudly, good};

fn release(commit: &str) -> Value {
    json!({ "commit": commit, "version": "1.0.0", "services": { "onebox": { "image": "registry.example/onebox:1" } } })
}

#[tokio::test]
async fn a_release_is_kept_with_everything_the_supervisor_needs() {
    let cloudly = Cloudly::start().await;
    let wish = json!({
        "commit": COMMIT, "version": "1.13.0",
        "services": { "baserunner": {
            "image": "registry.example/baserunner@sha256:ab", "environment": { "A": "b" },
            "labels": { "io.balena.features.supervisor-api": "1" }, "composition": { "volumes": ["baseos:/data/baseos"] },
        } },
        "volumes": { "baseos": {} }, "networks": {},
    });
    let response = cloudly
        .ask(Method::POST, "releases")
        .json(&wish)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let record: ReleaseRecord = good(response).await;
    assert!(record.release.release_id.starts_with("rel_"));
    let listed: Page<ReleaseRecord> = cloudly.get("releases").await;
    assert_eq!(listed.items, std::slice::from_ref(&record));
    assert_eq!(record.release.services["baserunner"].environment["A"], "b");
    assert_eq!(
        record.release.services["baserunner"].composition["volumes"][0],
        "baseos:/data/baseos"
    );
}

#[tokio::test]
async fn the_same_release_again_is_the_same_and_its_commit_with_other_contents_is_a_conflict() {
    let cloudly = Cloudly::start().await;
    let first: ReleaseRecord = cloudly.post("releases", release(COMMIT)).await;
    let again = cloudly
        .ask(Method::POST, "releases")
        .json(&release(COMMIT))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(good::<ReleaseRecord>(again).await, first);
    let mut other = release(COMMIT);
    other["services"]["onebox"]["image"] = json!("registry.example/onebox:2");
    let refused = cloudly.refused(Method::POST, "releases", other).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn a_release_the_supervisor_would_choke_on_is_refused_with_the_place_and_the_reason() {
    let cloudly = Cloudly::start().await;
    let long = format!("registry.example/{}", "x".repeat(255));
    let cases = [
        (
            json!({ "commit": "1234567", "services": { "a": { "image": "i" } } }),
            "/commit",
            "letters a to f",
        ),
        (
            json!({ "commit": "1f0a9bG", "services": { "a": { "image": "i" } } }),
            "/commit",
            "hex digits",
        ),
        (
            json!({ "commit": "1F0A9BE", "services": { "a": { "image": "i" } } }),
            "/commit",
            "lower case",
        ),
        (
            json!({ "commit": "1f0a9b", "services": { "a": { "image": "i" } } }),
            "/commit",
            "7 to 64",
        ),
        (
            json!({ "commit": COMMIT, "services": {} }),
            "/services",
            "at least one service",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": { "image": "" } } }),
            "/services/a/image",
            "empty",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": { "image": long } } }),
            "/services/a/image",
            "255",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": {} } }),
            "/services/a",
            "missing field `image`",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a/b": { "image": "i" } } }),
            "/services/a~1b",
            "name",
        ),
        (json!({ "commit": COMMIT }), "", "missing field `services`"),
        (
            json!({ "commit": COMMIT, "services": {}, "service": {} }),
            "/service",
            "does not have",
        ),
    ];
    for (wish, pointer, words) in cases {
        let refused = cloudly.refused(Method::POST, "releases", wish.clone()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{wish}"
        );
        assert_eq!(refused.errors[0].pointer, pointer, "{wish}");
        assert!(refused.title.contains(words), "{wish}: {}", refused.title);
    }
}

#[tokio::test]
async fn a_wish_that_cannot_be_carried_out_is_refused_with_the_place_and_the_reason() {
    let cloudly = Cloudly::start().await;
    cloudly.release(COMMIT).await;
    let window =
        |days: &str| json!({ "days": [days], "start": "01:00", "durationSeconds": 60, "timeZone": "UTC" });
    let cases = [
        (json!({}), "/commit", "missing"),
        (json!({ "commit": "77c2d01" }), "/commit", "no release"),
        (
            json!({ "commit": COMMIT, "policy": { "windows": [window("sat"), window("someday")] } }),
            "/policy/windows/1",
            "not a day",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "maxAttempts": 0 } }),
            "/policy/maxAttempts",
            "1 to 100",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "applyTimeoutSeconds": 0 } }),
            "/policy/applyTimeoutSeconds",
            "1 to",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "onFailure": "panic" } }),
            "/policy/onFailure",
            "rollback or report",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "force": { "by": "ann", "reason": "" } } }),
            "/policy/force/reason",
            "empty",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "maxAttempts": "three" } }),
            "/policy/maxAttempts",
            "expected u32",
        ),
    ];
    for (wish, pointer, words) in cases {
        let refused = cloudly.refused(Method::PUT, "desired", wish.clone()).await;
        assert_eq!(refused.status, 422, "{wish}");
        assert_eq!(refused.errors[0].pointer, pointer, "{wish}");
        assert!(refused.title.contains(words), "{wish}: {}", refused.title);
    }
}

#[tokio::test]
async fn every_setting_raises_the_revision() {
    let cloudly = Cloudly::start().await;
    let device = cloudly.enrol("edge").await;
    cloudly.release(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    let mut revisions = Vec::new();
    for path in ["desired", &own, "desired", &own] {
        let set: Value = cloudly.put(path, json!({ "commit": COMMIT })).await;
        revisions.push(set["revision"].as_u64().unwrap());
    }
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    let record: DesiredRecord = cloudly.get(&own).await;
    assert!(record.own);
    assert_eq!(record.revision, revisions[3]);
    let all: DesiredRecord = cloudly.get("desired").await;
    assert!(!all.own);
    assert_eq!(all.revision, revisions[2]);
}

#[tokio::test]
async fn a_force_is_in_the_audit_log_with_who_and_why() {
    let cloudly = Cloudly::start().await;
    cloudly.release(COMMIT).await;
    let force = json!({ "by": "ann", "reason": "security fix" });
    let _: Value = cloudly
        .put(
            "desired",
            json!({ "commit": COMMIT, "policy": { "force": force } }),
        )
        .await;
    let (action, data) = cloudly.audit().await.remove(0);
    assert_eq!(action, "desired.set");
    assert_eq!(data["force"], force);
}

#[tokio::test]
async fn every_write_of_an_operator_is_audited_with_the_admin_tokens_id() {
    let cloudly = Cloudly::start().await;
    let device = cloudly.enrol("edge").await;
    cloudly.release(COMMIT).await;
    let node = |what: &str| format!("nodes/{}/{what}", device.id);
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    let _: Value = cloudly.put(&node("desired"), json!({ "commit": COMMIT })).await;
    good::<Value>(
        cloudly
            .ask(Method::DELETE, &node("desired"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    let _: Value = cloudly.post(&node("commands"), json!({ "type": "reboot" })).await;
    let _: Value = cloudly.post(&node("suspend"), json!({})).await;
    let _: Value = cloudly.post(&node("suspend"), json!({})).await;
    let _: Value = cloudly.post(&node("restore"), json!({})).await;
    let _: Value = cloudly.post(&node("remove"), json!({})).await;
    let page: Value = cloudly.get("audit").await;
    let operator = &cloudly.admin[4..14];
    let mine = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["actor"] == operator);
    let mut actions: Vec<_> = mine.map(|item| item["action"].as_str().unwrap()).collect();
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

#[tokio::test]
async fn lists_page_through_everything_once() {
    let cloudly = Cloudly::start().await;
    let token = cloudly.join_token(json!({ "maxUses": 5 })).await;
    for n in 0..5 {
        assert_eq!(cloudly.register(&token, &format!("reg-{n}")).await.status(), 201);
        cloudly.clock.advance(1);
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = "nodes?limit=2".to_owned();
    loop {
        let page: Page<NodeRecord> = cloudly.get(&path).await;
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|node| node.id));
        let Some(next) = page.next else { break };
        path = format!("nodes?limit=2&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted(), "in order of arrival");
}

#[tokio::test]
async fn join_tokens_are_listed_without_secrets() {
    let cloudly = Cloudly::start().await;
    let token = cloudly
        .join_token(json!({ "maxUses": 3, "requireApproval": true }))
        .await;
    cloudly.register(&token, "reg-1").await;
    let text = cloudly
        .ask(Method::GET, "join-tokens")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!text.contains(&token[15..58]));
    assert!(!text.contains("mac"));
    let page: Page<JoinTokenRecord> = serde_json::from_str(&text).unwrap();
    let record = &page.items[0];
    assert_eq!(
        (record.id.as_str(), record.uses, record.max_uses),
        (&token[4..14], 1, 3)
    );
    assert!(record.require_approval);
}

#[tokio::test]
async fn wishes_for_join_tokens_have_bounds() {
    let cloudly = Cloudly::start().await;
    for (wish, pointer) in [
        (json!({ "maxUses": 0 }), "/maxUses"),
        (json!({ "ttlSeconds": 0 }), "/ttlSeconds"),
        (json!({ "ttlSeconds": 31 * 86_400 }), "/ttlSeconds"),
        (json!({ "fleet": "" }), "/fleet"),
        (json!({ "labels": { "": "x" } }), "/labels"),
        (json!({ "uses": 3 }), "/uses"),
    ] {
        let refused = cloudly.refused(Method::POST, "join-tokens", wish.clone()).await;
        assert_eq!(
            (refused.status, refused.errors[0].pointer.as_str()),
            (422, pointer),
            "{wish}"
        );
    }
}

#[tokio::test]
async fn a_command_cloudly_does_not_know_is_refused_with_the_ones_it_knows() {
    let cloudly = Cloudly::start().await;
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/commands", device.id);
    for wish in [
        json!({ "type": "selfDestruct" }),
        json!({ "type": "restartService" }),
    ] {
        let refused = cloudly.refused(Method::POST, &path, wish).await;
        assert_eq!(refused.status, 422);
        assert!(
            refused.title.contains("restartService (params.service)"),
            "{}",
            refused.title
        );
    }
    let wish = json!({ "type": "collectLogs", "params": { "lines": 501 } });
    assert_eq!(
        cloudly.refused(Method::POST, &path, wish).await.errors[0].pointer,
        "/params/lines"
    );
}

#[tokio::test]
async fn commands_do_not_pile_up_without_end() {
    let cloudly = Cloudly::start().await;
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/commands", device.id);
    for _ in 0..32 {
        let _: Value = cloudly.post(&path, json!({ "type": "checkNow" })).await;
    }
    assert_eq!(
        cloudly
            .refused(Method::POST, &path, json!({ "type": "checkNow" }))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn a_removed_node_needs_to_be_restored_before_anything_else() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let node = |what: &str| format!("nodes/{}/{what}", device.id);
    let _: Value = cloudly.post(&node("remove"), json!({})).await;
    assert_eq!(
        cloudly
            .refused(Method::POST, &node("approve"), json!({}))
            .await
            .status,
        409
    );
    assert_eq!(
        cloudly
            .refused(Method::POST, &node("commands"), json!({ "type": "reboot" }))
            .await
            .status,
        409
    );
    let restored: NodeRecord = cloudly.post(&node("restore"), json!({})).await;
    assert_eq!(restored.lifecycle, "active");
    device.beat(&cloudly).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let cloudly = Cloudly::start().await;
    for (method, path) in [
        (Method::GET, "nodes/node_x"),
        (Method::GET, "nodes/node_x/desired"),
        (Method::GET, "nodes/node_x/events"),
        (Method::GET, "nodes/node_x/commands"),
        (Method::POST, "nodes/node_x/approve"),
        (Method::DELETE, "nodes/node_x/desired"),
        (Method::DELETE, "join-tokens/xxxxxxxxxx"),
    ] {
        let refused = cloudly.refused(method.clone(), path, json!({})).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (404, "notFound"),
            "{method} {path}"
        );
    }
}
