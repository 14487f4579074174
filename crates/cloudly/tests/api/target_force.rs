//! Orders to go ahead (`force`) end by themselves.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, status};
use baseos_interfaces::admin::{DesiredRecord, DesiredSet};
use baseos_interfaces::desired::Desired;
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

const DAY: i64 = 86_400;

/// Forces the release and returns the revision.
async fn force(cloudly: &Cloudly, path: &str, ttl: Option<u32>) -> u64 {
    let mut body = json!({
        "commit": COMMIT, "policy": { "maxAttempts": 7, "force": { "by": "ann", "reason": "security fix" } },
    });
    if let Some(ttl) = ttl {
        body["forceTtlSeconds"] = ttl.into();
    }
    let set: DesiredSet = cloudly.put(path, body).await;
    set.revision
}

/// What the next heartbeat brings, which the device observes.
async fn desired(device: &mut Device, cloudly: &Cloudly) -> Option<Desired> {
    let desired = device.heartbeat(cloudly).await.instructions.desired?;
    device.observed = desired.revision;
    Some(desired)
}

fn is_forced(desired: Option<Desired>) -> bool {
    desired.unwrap().app.unwrap().policy.force.is_some()
}

#[apply(each_engine)]
#[tokio::test]
async fn an_order_ends_after_a_day_and_nodes_that_have_it_are_told(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let revision = force(&cloudly, "desired", None).await;
    assert!(is_forced(desired(&mut device, &cloudly).await));
    cloudly.clock.advance(DAY - 1);
    assert_eq!(desired(&mut device, &cloudly).await, None);
    cloudly.clock.advance(1);
    let record: DesiredRecord = cloudly.get("desired").await;
    assert_eq!((record.revision, record.policy.force), (revision + 1, None));
    assert_eq!(cloudly.node(&device).await.desired_revision, revision + 1);
    let told = desired(&mut device, &cloudly).await.unwrap();
    assert_eq!(told.revision, revision + 1);
    let policy = told.app.unwrap().policy;
    assert_eq!((policy.max_attempts, policy.force), (7, None), "all else is kept");
    assert_eq!(desired(&mut device, &cloudly).await, None, "once");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_that_comes_after_the_end_never_gets_the_order(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let revision = force(&cloudly, "desired", Some(3600)).await;
    cloudly.clock.advance(3600);
    let told = desired(&mut device, &cloudly).await;
    assert_eq!(device.observed, revision + 1);
    assert!(!is_forced(told));
}

#[apply(each_engine)]
#[tokio::test]
async fn an_order_that_ended_before_a_restart_of_cloudly_stays_ended(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    force(&cloudly, "desired", Some(3600)).await;
    desired(&mut device, &cloudly).await;
    cloudly.restart_after(3600).await;
    assert!(!is_forced(desired(&mut device, &cloudly).await));
    let report = device.report(&cloudly, status("idle", None, Some(COMMIT))).await;
    assert_eq!(report.instructions.desired, None);
}

#[apply(each_engine)]
#[tokio::test]
async fn what_is_set_after_an_order_is_above_its_end(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let revision = force(&cloudly, "desired", Some(60)).await;
    cloudly.clock.advance(60);
    desired(&mut device, &cloudly).await;
    let set: DesiredSet = cloudly.put("desired", json!({ "commit": null })).await;
    assert_eq!(set.revision, revision + 2);
    assert_eq!(desired(&mut device, &cloudly).await.unwrap().app, None);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_that_returns_to_an_order_to_all_is_told_its_end(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    force(&cloudly, "desired", Some(3600)).await;
    let _: Value = cloudly.put(&own, json!({ "commit": null })).await;
    desired(&mut device, &cloudly).await;
    let unset = cloudly.admin(Method::DELETE, &own).send().await.unwrap();
    assert_eq!(unset.status(), 200);
    assert!(is_forced(desired(&mut device, &cloudly).await));
    cloudly.clock.advance(3600);
    assert!(!is_forced(desired(&mut device, &cloudly).await));
    let before = device.observed;
    let set: DesiredSet = cloudly.put(&own, json!({ "commit": null })).await;
    assert!(set.revision > before);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_change_that_saw_the_order_is_refused_after_its_end(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    cloudly.create_release(COMMIT).await;
    let revision = force(&cloudly, "desired", Some(60)).await;
    cloudly.clock.advance(60);
    let change = cloudly
        .admin(Method::PUT, "desired")
        .header("If-Match", format!("\"{revision}\""));
    let refused = crate::support::send_refused(change.json(&json!({ "commit": null }))).await;
    assert_eq!((refused.status, refused.revision), (412, Some(revision + 1)));
}
