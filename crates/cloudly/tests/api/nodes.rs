//! Decisions of operators about nodes.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, start_time};
use baseos_interfaces::admin::DesiredSet;
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn a_suspended_node_is_refused_until_it_is_restored(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.decide(&device, "suspend").await;
    assert_eq!(cloudly.node(&device).await.last_refused_at, None);
    let refused = device.refused(&cloudly).await;
    assert_eq!((refused.status, refused.code.as_str()), (403, "nodeSuspended"));
    assert_eq!(refused.next_heartbeat_seconds, Some(60));
    let node = cloudly.node(&device).await;
    assert_eq!(
        (node.last_refused_at, node.next_heartbeat_at),
        (Some(start_time()), None)
    );
    cloudly.decide(&device, "restore").await;
    device.heartbeat(&cloudly).await;
    assert_eq!(cloudly.node(&device).await.last_refused_at, None);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_says_since_when_what_is_desired_of_it_and_when_it_is_heard_next(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let node = cloudly.node(&device).await;
    assert_eq!(
        (node.desired_own, node.desired_set_at, node.next_heartbeat_at),
        (false, None, None)
    );
    let set_at = start_time();
    cloudly.set_target(COMMIT).await;
    cloudly.clock.advance(30);
    let answer = device.heartbeat(&cloudly).await;
    let heard_at = answer.instructions.server_time;
    cloudly.clock.advance(5);
    let node = cloudly.node(&device).await;
    assert_eq!((node.desired_own, node.desired_set_at), (false, Some(set_at)));
    let due = node.next_heartbeat_at.unwrap().duration_since(heard_at).as_secs();
    assert_eq!(due, i64::from(answer.instructions.next_heartbeat_seconds));
    assert_eq!(node.server_time.unwrap().duration_since(heard_at).as_secs(), 5);
    let own = json!({ "commit": COMMIT });
    let _: DesiredSet = cloudly.put(&format!("nodes/{}/desired", device.id), own).await;
    let node = cloudly.node(&device).await;
    assert_eq!((node.desired_own, node.desired_set_at), (true, node.server_time));
}

#[apply(each_engine)]
#[tokio::test]
async fn the_heartbeat_of_a_removed_node_is_answered_with_gone(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly.decide(&device, "remove").await;
    let refused = device.refused(&cloudly).await;
    assert_eq!((refused.status, refused.code.as_str()), (410, "nodeRemoved"));
}

#[apply(each_engine)]
#[tokio::test]
async fn a_removed_node_must_be_restored_before_anything_else(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let node = |what: &str| format!("nodes/{}/{what}", device.id);
    cloudly.decide(&device, "remove").await;
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
    let restored = cloudly.decide(&device, "restore").await;
    assert_eq!(restored.lifecycle, "active");
    device.heartbeat(&cloudly).await;
}

#[apply(each_engine)]
#[tokio::test]
async fn unknown_ids_are_not_found(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
