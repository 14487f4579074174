//! Presence and clones (contract §4.3 and §4.11).

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, start_time, status};
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::status::BlockerKind;
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn two_alternating_runs_are_a_clone_and_get_no_instructions_until_cleared(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut one = cloudly.enrol("edge").await;
    cloudly.set_target(COMMIT).await;
    let mut two = one.clone();
    two.run = "r_2".to_owned();
    let mut suspected = false;
    for _ in 0..5 {
        for agent in [&mut one, &mut two] {
            suspected |= agent.heartbeat(&cloudly).await.instructions.clone_suspected;
            cloudly.clock.advance(30);
        }
    }
    assert!(suspected);
    cloudly.command(&one, json!({ "type": "reboot" })).await;
    let instructions = two.heartbeat(&cloudly).await.instructions;
    assert!(instructions.clone_suspected);
    assert!(instructions.desired.is_none() && instructions.commands.is_empty());
    assert!(cloudly.node(&one).await.clone_suspected);
    assert_eq!(
        cloudly
            .audit()
            .await
            .iter()
            .filter(|(action, _)| action == "node.cloneSuspected")
            .count(),
        1
    );

    cloudly.decide(&one, "clear-clone").await;
    let instructions = two.heartbeat(&cloudly).await.instructions;
    assert!(!instructions.clone_suspected);
    assert!(instructions.desired.is_some());
}

#[apply(each_engine)]
#[tokio::test]
async fn a_suspected_clone_blocks_what_is_desired_of_the_node_until_cleared(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut one = cloudly.enrol("edge").await;
    one.report(&cloudly, status("idle", None, Some("c0ffee1"))).await;
    let mut two = one.clone();
    two.run = "r_2".to_owned();
    for _ in 0..5 {
        for agent in [&mut one, &mut two] {
            cloudly.clock.advance(30);
            agent.heartbeat(&cloudly).await;
        }
    }
    let blocked_by = async || {
        let node = cloudly.node(&one).await;
        assert!(node.status.is_some());
        node.status
            .map_or_else(Vec::new, |status| status.update.blocked_by)
    };
    assert_eq!(blocked_by().await, [], "nothing is to be done");
    cloudly.set_target(COMMIT).await;
    let blocked = blocked_by().await;
    let kinds: Vec<_> = blocked.iter().map(|blocker| blocker.kind).collect();
    assert_eq!(kinds, [BlockerKind::CloneSuspected]);
    assert!(blocked[0].since > start_time() && blocked[0].since <= cloudly.clock.now());
    cloudly.decide(&one, "clear-clone").await;
    assert_eq!(blocked_by().await, []);
}

#[apply(each_engine)]
#[tokio::test]
async fn restarts_and_a_delayed_request_are_no_clone(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    for run in ["r_2", "r_3", "r_4"] {
        let mut earlier = device.clone();
        device.run = run.to_owned();
        device.sequence = 0;
        assert!(!device.heartbeat(&cloudly).await.instructions.clone_suspected);
        assert!(!earlier.heartbeat(&cloudly).await.instructions.clone_suspected);
        assert!(!device.heartbeat(&cloudly).await.instructions.clone_suspected);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_node_that_started_twice_while_its_requests_were_held_is_no_clone_and_is_heard_on(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut first = cloudly.enrol("edge").await;
    first.heartbeat(&cloudly).await;
    let [mut second, mut third] = [first.clone(), first.clone()];
    (second.run, second.sequence) = ("r_2".to_owned(), 0);
    (third.run, third.sequence) = ("r_3".to_owned(), 0);
    for held in [&mut third, &mut first, &mut second] {
        let answer = held.heartbeat(&cloudly).await;
        assert!(!answer.instructions.clone_suspected);
    }
    for _ in 0..10 {
        cloudly.clock.advance(60);
        let answer = third.heartbeat(&cloudly).await;
        assert!(!answer.instructions.clone_suspected);
    }
    third
        .report(&cloudly, status("succeeded", Some(COMMIT), Some(COMMIT)))
        .await;
    let node = cloudly.node(&third).await;
    assert_eq!(node.status.unwrap().update.state.as_str(), "succeeded");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_delayed_status_of_an_earlier_run_does_not_replace_a_newer_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device
        .report(&cloudly, status("applying", Some(COMMIT), None))
        .await;
    let mut earlier = device.clone();
    device.run = "r_2".to_owned();
    device
        .report(&cloudly, status("succeeded", Some(COMMIT), Some(COMMIT)))
        .await;
    earlier
        .report(&cloudly, status("failed", Some(COMMIT), None))
        .await;
    assert_eq!(
        cloudly.node(&device).await.status.unwrap().update.state.as_str(),
        "succeeded"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn a_delayed_success_of_an_earlier_attempt_does_not_replace_a_newer_status(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let mut attempt = |state: &str, attempt: u32| {
        let mut report = status(state, Some(COMMIT), None);
        report["update"]["attempt"] = json!(attempt);
        device.hash = format!("{state} {attempt}");
        device.next(json!({ "status": report }))
    };
    let first = attempt("verifying", 1);
    let delayed = attempt("succeeded", 1);
    let newest = attempt("applying", 2);
    for heartbeat in [&first, &newest, &delayed] {
        assert!(device.send(&cloudly, heartbeat).await.status().is_success());
        assert!(!cloudly.node(&device).await.clone_suspected);
    }
    let update = cloudly.node(&device).await.status.unwrap().update;
    assert_eq!((update.state.as_str(), update.attempt), ("applying", Some(2)));
    // What the node says next counts again.
    device
        .report(&cloudly, status("succeeded", Some(COMMIT), Some(COMMIT)))
        .await;
    let update = cloudly.node(&device).await.status.unwrap().update;
    assert_eq!(update.state.as_str(), "succeeded");
}

#[apply(each_engine)]
#[tokio::test]
async fn presence_goes_from_online_to_late_to_offline(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    assert_eq!(cloudly.node(&device).await.last_seen_at, None);
    let interval = device
        .heartbeat(&cloudly)
        .await
        .instructions
        .next_heartbeat_seconds;
    assert_eq!(interval, 60);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
    assert_eq!(cloudly.node(&device).await.last_seen_at, Some(start_time()));
    cloudly.clock.advance(60 + 20);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
    cloudly.clock.advance(1);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Late);
    cloudly.clock.advance(100);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
    device.heartbeat(&cloudly).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_silent_node_is_unknown_for_two_intervals_after_a_restart(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    cloudly.restart_after(600).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Unknown);
    cloudly.clock.advance(120);
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_goodbye_is_offline_at_once_and_the_next_heartbeat_is_online(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat_with(&cloudly, json!({ "goodbye": true })).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Offline);
    device.run = "r_2".to_owned();
    device.heartbeat(&cloudly).await;
    assert_eq!(cloudly.node(&device).await.presence, PresenceState::Online);
}
