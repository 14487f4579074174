//! Neighbours that are away: Cloudly, the Supervisor, or a part of either.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{Stage, StageOptions, wait_until};
use baseos_simulator::supervisor::{Behaviour, Image};
use program::{Deeds as _, PATIENCE, V1, V2, V3, options, posts, release};

/// With an update to `V2` that takes long enough for something to happen meanwhile.
fn slow() -> StageOptions {
    let mut options = options();
    options.registry = options
        .registry
        .with("onebox:2", Image::new(Behaviour::Runs, 3000));
    options
}

#[tokio::test]
async fn cloudly_away_while_nothing_happens() {
    let mut stage = Stage::start(options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    stage.cloudly.kill().await;
    let status = stage
        .wait_agent("the agent notices", PATIENCE, |status| {
            status.cloudly.failures >= 2
        })
        .await
        .unwrap();
    assert!(!status.cloudly.connected && status.cloudly.error.is_some());
    assert!(status.summary.contains("Cloudly"), "{}", status.summary);
    assert!(stage.device.runs(V1));
    stage.cloudly.start_again().await.unwrap();
    stage
        .wait_agent("it is in touch again", PATIENCE, |status| {
            status.cloudly.connected
        })
        .await
        .unwrap();
    assert_eq!(stage.node().await.unwrap().id, node.id);
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    stage.assert_sound().await;
}

#[tokio::test]
async fn cloudly_away_in_mid_update() {
    let mut stage = Stage::start(slow()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    stage.cloudly.kill().await;
    // The update needs nobody but the Supervisor.
    stage.wait_phase(UpdateState::Succeeded, V2).await.unwrap();
    stage.cloudly.start_again().await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(
        stage.endings(V2).await.unwrap(),
        ["succeeded"],
        "told once, afterwards"
    );
    assert_eq!(posts(&stage, V2), 1);
    stage.assert_sound().await;
}

/// The Supervisor is away in this way from before an update is wanted; then it is back.
async fn supervisor_away(how: Option<FaultKind>) {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    match how {
        None => stage.device.set_down(true),
        Some(kind) => stage.device.fault(Fault::on("*", kind)),
    }
    let unavailable = |status: &baseos_interfaces::local::LocalStatus| !status.supervisor.available;
    let status = stage
        .wait_agent("the agent notices", PATIENCE, unavailable)
        .await
        .unwrap();
    assert!(status.supervisor.error.is_some());
    let doctor = stage.agent.doctor().await.unwrap();
    let check = doctor
        .checks
        .iter()
        .find(|check| check.name == "supervisor")
        .unwrap();
    assert!(!check.ok && check.fix.is_some(), "{check:?}");
    stage
        .wait_node("Cloudly hears of it", PATIENCE, |node| {
            node.status
                .as_ref()
                .is_some_and(|status| !status.supervisor.available)
        })
        .await
        .unwrap();
    stage.want(V2).await.unwrap();
    stage
        .wait_agent("the update waits for the Supervisor", PATIENCE, |status| {
            let mut blocked = status.update.blocked_by.iter();
            blocked.any(|blocker| blocker.kind == BlockerKind::SupervisorUnavailable)
        })
        .await
        .unwrap();
    assert_eq!(posts(&stage, V2), 0);
    stage.device.clear_faults();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(posts(&stage, V2), 1);
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    stage.assert_sound().await;
}

#[tokio::test]
async fn supervisor_refuses_connections() {
    supervisor_away(None).await;
}

#[tokio::test]
async fn supervisor_hangs() {
    supervisor_away(Some(FaultKind::Hang)).await;
}

#[tokio::test]
async fn supervisor_says_503() {
    supervisor_away(Some(FaultKind::Status { code: 503 })).await;
}

#[tokio::test]
async fn supervisor_has_another_key() {
    supervisor_away(Some(FaultKind::Unauthorized)).await;
}

#[tokio::test]
async fn a_supervisor_that_dies_in_mid_update_goes_on_when_it_is_back() {
    let stage = Stage::start(slow()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    // It would be back before the agent looks.
    stage.device.set_down(true);
    stage.device.crash_supervisor();
    stage
        .wait_agent("the agent notices", PATIENCE, |status| {
            !status.supervisor.available
        })
        .await
        .unwrap();
    stage.device.set_down(false);
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_target_whose_answer_is_lost_is_not_handed_over_twice() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    let mut lost = Fault::on("/v2/local/target-state", FaultKind::DroppedAfter).times(1);
    lost.method = Some("POST".to_owned());
    stage.device.fault(lost);
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(posts(&stage, V2), 1, "the agent looked, and it was there");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_target_somebody_else_posted_is_reported() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    stage.desire(None, program::policy()).await.unwrap();
    stage
        .wait_agent("nothing is desired", PATIENCE, |status| {
            status.observed_revision == 3
        })
        .await
        .unwrap();
    stage
        .device
        .post_target(&release(V3).local_target("simulated-device"));
    let node = stage
        .wait_node("Cloudly hears of the stranger", PATIENCE, |node| {
            program::has_issue(node, "foreignTarget")
        })
        .await
        .unwrap();
    assert_eq!(node.status.unwrap().release.running.as_deref(), Some(V3));
    assert_eq!(posts(&stage, V2), 1, "nothing is desired, so nothing is undone");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_target_somebody_else_posted_gives_way_to_the_desired_one() {
    let stage = Stage::start(options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    stage
        .device
        .post_target(&release(V3).local_target("simulated-device"));
    stage
        .wait_agent("it is undone", PATIENCE, |_| posts(&stage, V2) == 2)
        .await
        .unwrap();
    stage.wait_runs(V2, PATIENCE).await.unwrap();
    let told = wait_until("Cloudly hears how it ended", PATIENCE, async || {
        let endings = stage.endings(V2).await.map_err(|error| error.to_string())?;
        if endings.len() == 2 {
            Ok(endings)
        } else {
            Err(format!("{endings:?}"))
        }
    });
    assert_eq!(told.await.unwrap(), ["succeeded", "succeeded"]);
    let mut events = stage.cloudly.events(&node.id).await.unwrap();
    events.retain(|record| record.event.kind == "foreignTarget");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].event.data["running"], V3);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_container_stopped_by_hand_is_reported() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.device.stop_container("onebox");
    let node = stage
        .wait_node("Cloudly hears of it", PATIENCE, |node| {
            program::has_issue(node, "serviceStopped")
        })
        .await
        .unwrap();
    let issues = node.status.unwrap().health.issues;
    assert!(
        issues
            .iter()
            .any(|issue| issue.detail.as_deref() == Some("onebox")),
        "{issues:?}"
    );
    stage.assert_sound().await;
    stage.device.start_container("onebox");
    stage
        .wait_node("it runs again", PATIENCE, |node| {
            !program::has_issue(node, "serviceStopped")
        })
        .await
        .unwrap();
    stage.assert_sound().await;
}
