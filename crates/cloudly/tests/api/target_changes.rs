//! Changes of targets: what is kept, and whose change counts when two operators change the same.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, OTHER_COMMIT, ok, send_refused};
use baseos_interfaces::admin::{DesiredRecord, DesiredSet};
use baseos_interfaces::desired::Policy;
use reqwest::{Method, RequestBuilder};
use rstest_reuse::apply;
use serde_json::{Value, json};

#[apply(each_engine)]
#[tokio::test]
async fn a_policy_that_is_not_given_is_kept(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
    cloudly.create_release(OTHER_COMMIT).await;
    let policy = json!({ "maxAttempts": 7, "requireRollback": true });
    let _: Value = cloudly
        .put("desired", json!({ "commit": COMMIT, "policy": policy }))
        .await;
    let before: DesiredRecord = cloudly.get("desired").await;
    for commit in [json!(OTHER_COMMIT), json!(null), json!(COMMIT)] {
        let _: Value = cloudly.put("desired", json!({ "commit": commit })).await;
        let record: DesiredRecord = cloudly.get("desired").await;
        assert_eq!(record.policy, before.policy, "{commit}");
        let (_, data) = cloudly.audit().await.remove(0);
        assert_eq!(data["policy"]["maxAttempts"], 7, "{commit}: audited in full");
    }
    let _: Value = cloudly
        .put("desired", json!({ "commit": COMMIT, "policy": {} }))
        .await;
    let record: DesiredRecord = cloudly.get("desired").await;
    assert_eq!(
        record.policy,
        Policy::default(),
        "what is given is the whole policy"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn the_first_own_target_of_a_node_keeps_the_policy_of_all(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    for (path, body) in [
        (
            "desired",
            json!({ "commit": null, "policy": { "maxAttempts": 7 } }),
        ),
        (&own, json!({ "commit": COMMIT })),
        (
            "desired",
            json!({ "commit": null, "policy": { "maxAttempts": 9 } }),
        ),
    ] {
        let _: Value = cloudly.put(path, body).await;
    }
    let answer = device.heartbeat(&cloudly).await;
    let app = answer.instructions.desired.unwrap().app.unwrap();
    assert_eq!(app.policy.max_attempts, 7);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_order_to_go_ahead_is_not_kept_with_its_policy(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
    let policy = json!({ "maxAttempts": 7, "force": { "by": "ann", "reason": "security fix" } });
    let _: Value = cloudly
        .put("desired", json!({ "commit": COMMIT, "policy": policy }))
        .await;
    let _: Value = cloudly.put("desired", json!({ "commit": COMMIT })).await;
    let record: DesiredRecord = cloudly.get("desired").await;
    assert_eq!((record.policy.max_attempts, record.policy.force), (7, None));
}

fn at(request: RequestBuilder, tag: &str) -> RequestBuilder {
    request.header("If-Match", tag)
}

#[apply(each_engine)]
#[tokio::test]
async fn a_change_for_another_revision_is_refused_with_the_present_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let own = format!("nodes/{}/desired", device.id);
    let body = json!({ "commit": COMMIT });
    cloudly.create_release(COMMIT).await;
    let first = at(cloudly.admin(Method::PUT, "desired").json(&body), "\"0\"");
    let first: DesiredSet = ok(first.send().await.unwrap()).await;
    assert_eq!(first.revision, 1, "nothing was ever set");
    for (method, path) in [
        (Method::PUT, "desired"),
        (Method::PUT, &own),
        (Method::DELETE, &own),
    ] {
        let request = at(cloudly.admin(method.clone(), path).json(&body), "\"0\"");
        let refused = send_refused(request).await;
        assert_eq!(
            (refused.status, refused.code.as_str(), refused.revision),
            (412, "revisionChanged", Some(1)),
            "{method} {path}"
        );
        let says = "what is desired there is at revision 1 now, not at 0";
        assert_eq!(refused.title, says, "{method} {path}");
        assert!(refused.detail.unwrap().contains("again for revision 1"));
    }
    let record: DesiredRecord = cloudly.get(&own).await;
    assert_eq!((record.revision, record.own), (1, false), "nothing was changed");
    assert_eq!(cloudly.audit().await[0].1["revision"], 1, "or audited");
}

#[apply(each_engine)]
#[tokio::test]
async fn the_tag_of_an_answer_is_what_the_next_change_takes(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let own = format!("nodes/{}/desired", device.id);
    cloudly.set_target(COMMIT).await;
    let body = json!({ "commit": COMMIT });
    let mut tag = "*".to_owned();
    for (method, path) in [
        (Method::PUT, "desired"),
        (Method::GET, "desired"),
        (Method::PUT, "desired"),
        (Method::GET, &own),
        (Method::PUT, &own),
        (Method::DELETE, &own),
        (Method::GET, &own),
        (Method::PUT, &own),
    ] {
        let request = at(cloudly.admin(method.clone(), path).json(&body), &tag);
        let answer = request.send().await.unwrap();
        let said = answer.headers()["etag"].to_str().unwrap().to_owned();
        let body: Value = ok(answer).await;
        assert_eq!(said, format!("\"{}\"", body["revision"]), "{method} {path}");
        tag = said;
    }
    // Made weak by a proxy that compresses; then one of several.
    let request = at(cloudly.admin(Method::PUT, &own).json(&body), &format!("W/{tag}"));
    let set: DesiredSet = ok(request.send().await.unwrap()).await;
    let tags = format!("\"1\", \"{}\"", set.revision);
    let request = at(cloudly.admin(Method::PUT, &own).json(&body), &tags);
    let set: DesiredSet = ok(request.send().await.unwrap()).await;
    let request = at(cloudly.admin(Method::PUT, &own).json(&body), &tags);
    assert_eq!(send_refused(request).await.revision, Some(set.revision));
}

#[apply(each_engine)]
#[tokio::test]
async fn a_tag_that_is_no_revision_is_refused_and_changes_nothing(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.set_target(COMMIT).await;
    for tag in ["1", "\"abc\"", "\"-1\"", "", "\"1\","] {
        let request = cloudly.admin(Method::PUT, "desired");
        let refused = send_refused(at(request.json(&json!({ "commit": null })), tag)).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{tag}"
        );
        assert!(
            refused.title.contains("a revision in quotes"),
            "{}",
            refused.title
        );
    }
    let record: DesiredRecord = cloudly.get("desired").await;
    assert_eq!((record.revision, record.commit.as_deref()), (1, Some(COMMIT)));
}
