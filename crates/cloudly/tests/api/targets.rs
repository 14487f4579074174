//! Targets: what is desired, of one node or of all.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, OTHER_COMMIT};
use baseos_interfaces::admin::DesiredRecord;
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

/// The commit in the answer to the next heartbeat, which the device observes.
async fn desired_commit(device: &mut Device, cloudly: &Cloudly) -> Option<String> {
    let desired = device.heartbeat(cloudly).await.instructions.desired.unwrap();
    device.observed = desired.revision;
    desired.app.map(|app| app.release.commit)
}

#[apply(each_engine)]
#[tokio::test]
async fn the_desired_state_is_sent_until_the_node_has_observed_it(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    assert!(
        device.heartbeat(&cloudly).await.instructions.desired.is_none(),
        "nothing was ever desired"
    );
    let revision = cloudly.set_target(COMMIT).await;
    let desired = device.heartbeat(&cloudly).await.instructions.desired.unwrap();
    assert_eq!(desired.revision, revision);
    assert_eq!(
        desired.app.unwrap().release.services["onebox"].image,
        "registry.example/onebox:1"
    );
    assert!(
        device.heartbeat(&cloudly).await.instructions.desired.is_some(),
        "the answer may have been lost"
    );
    device.observed = revision;
    assert!(device.heartbeat(&cloudly).await.instructions.desired.is_none());
    let record = cloudly.node(&device).await;
    assert_eq!(
        (record.desired_revision, record.observed_revision),
        (revision, revision)
    );
    assert_eq!(record.desired_commit.as_deref(), Some(COMMIT));
}

#[apply(each_engine)]
#[tokio::test]
async fn a_nodes_own_target_wins_and_unsetting_it_raises_the_revision(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut one, mut other) = (cloudly.enrol("one").await, cloudly.enrol("other").await);
    cloudly.set_target(COMMIT).await;
    cloudly.create_release(OTHER_COMMIT).await;
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
    let unset = cloudly.admin(Method::DELETE, &own).send().await.unwrap();
    assert_eq!(unset.status(), 200);
    assert_eq!(desired_commit(&mut one, &cloudly).await.as_deref(), Some(COMMIT));
    assert!(one.observed > before);
    assert!(
        other.heartbeat(&cloudly).await.instructions.desired.is_none(),
        "nothing changed for the other node"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn a_target_without_a_release_is_sent_explicitly(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.set_target(COMMIT).await;
    desired_commit(&mut device, &cloudly).await;
    let _: Value = cloudly.put("desired", json!({ "commit": null })).await;
    let desired = device.heartbeat(&cloudly).await.instructions.desired.unwrap();
    assert!(desired.revision > device.observed);
    assert!(desired.app.is_none());
}

#[apply(each_engine)]
#[tokio::test]
async fn a_higher_observed_revision_gets_nothing_lower_and_raises_the_next_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.set_target(COMMIT).await;
    device.observed = 500;
    assert!(device.heartbeat(&cloudly).await.instructions.desired.is_none());
    let revision = cloudly.set_target(OTHER_COMMIT).await;
    assert_eq!(revision, 501);
    assert_eq!(
        desired_commit(&mut device, &cloudly).await.as_deref(),
        Some(OTHER_COMMIT)
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn an_absurd_observed_revision_does_not_hide_what_others_have_observed(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut liar, mut honest) = (cloudly.enrol("liar").await, cloudly.enrol("honest").await);
    liar.observed = (1 << 53) - 1;
    liar.heartbeat(&cloudly).await;
    // As after a restore from a backup.
    honest.observed = 500;
    honest.heartbeat(&cloudly).await;
    assert_eq!(cloudly.set_target(COMMIT).await, 501);
    let desired = honest.heartbeat(&cloudly).await.instructions.desired;
    assert_eq!(desired.unwrap().revision, 501);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_absurd_observed_revision_does_not_raise_the_next_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.observed = (1 << 53) - 1;
    device.heartbeat(&cloudly).await;
    assert_eq!(cloudly.set_target(COMMIT).await, 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_invalid_target_is_refused_with_pointer_and_reason(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
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
            json!({ "commit": COMMIT, "policy": null }),
            "/policy",
            "expected an object, not null",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "force": { "by": "a", "reason": "b", "expiresAt": null } } }),
            "/policy/force/expiresAt",
            "use by, reason",
        ),
        (
            json!({ "commit": COMMIT, "forceTtlSeconds": 60 }),
            "/policy/force",
            "missing",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "force": { "by": "a", "reason": "b" } }, "forceTtlSeconds": 59 }),
            "/forceTtlSeconds",
            "60 to 2592000",
        ),
        (
            json!({ "commit": COMMIT, "policy": { "maxAttempts": "three" } }),
            "/policy/maxAttempts",
            "expected a whole number from 0 to 4294967295, not a string",
        ),
    ];
    for (request, pointer, text) in cases {
        let refused = cloudly.refused(Method::PUT, "desired", request.clone()).await;
        assert_eq!(refused.status, 422, "{request}");
        assert_eq!(refused.errors[0].pointer, pointer, "{request}");
        assert!(refused.title.contains(text), "{request}: {}", refused.title);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn every_change_of_a_target_raises_the_revision(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
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

/// A status that says whether the update under way could be undone.
fn status_with_rollback(running: &str, rollback: &Value) -> Value {
    let mut report = crate::support::status("waiting", Some(COMMIT), Some(running));
    report["update"]["rollback"] = rollback.clone();
    report
}

#[apply(each_engine)]
#[tokio::test]
async fn the_release_that_runs_comes_with_what_is_desired_when_it_is_known(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.set_target(COMMIT).await;
    let running = |running: Option<&str>| crate::support::status("idle", None, running);
    let fallback = |answer: baseos_interfaces::heartbeat::HeartbeatAnswer| {
        let release = answer.instructions.desired.unwrap().fallback?;
        Some(release.commit)
    };
    let answer = device.report(&cloudly, running(Some(OTHER_COMMIT))).await;
    assert_eq!(fallback(answer), None, "it is not known");
    cloudly.create_release(OTHER_COMMIT).await;
    let known = Some(OTHER_COMMIT.to_owned());
    assert_eq!(
        fallback(device.heartbeat(&cloudly).await),
        known,
        "as it was reported"
    );
    let answer = device.report(&cloudly, running(Some(COMMIT))).await;
    assert_eq!(fallback(answer), None, "it runs what is desired");
    let answer = device.report(&cloudly, running(None)).await;
    assert_eq!(fallback(answer), None);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_that_lacks_a_way_back_is_sent_the_release_that_runs_once_more(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.observed = cloudly.set_target(COMMIT).await;
    let impossible = json!({ "state": "impossible", "reason": "no release is known to go back to" });
    let report = status_with_rollback(OTHER_COMMIT, &impossible);
    let answer = device.report(&cloudly, report.clone()).await;
    assert_eq!(
        answer.instructions.desired, None,
        "nothing that would help is known"
    );
    cloudly.create_release(OTHER_COMMIT).await;
    let desired = device
        .report(&cloudly, report)
        .await
        .instructions
        .desired
        .unwrap();
    assert_eq!(desired.fallback.unwrap().commit, OTHER_COMMIT);
    assert_eq!(desired.revision, device.observed);
    assert_eq!(device.heartbeat(&cloudly).await.instructions.desired, None);
    let possible = json!({ "state": "possible", "target": OTHER_COMMIT });
    let answer = device
        .report(&cloudly, status_with_rollback(OTHER_COMMIT, &possible))
        .await;
    assert_eq!(answer.instructions.desired, None);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_policy_may_ask_for_a_way_back(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let set = json!({ "commit": COMMIT, "policy": { "requireRollback": true } });
    let _: Value = cloudly.put("desired", set).await;
    let desired = device.heartbeat(&cloudly).await.instructions.desired.unwrap();
    assert!(desired.app.unwrap().policy.require_rollback);
}
