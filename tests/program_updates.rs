//! Enrolment and updates with the real programs: what an operator does every day.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::Stage;
use program::{BAD, Deeds as _, PATIENCE, V1, V2, V3, options, posts, release};

#[tokio::test]
async fn a_restart_does_not_enrol_again() {
    let stage = Stage::start(options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    for restarts in 1..=2 {
        stage.device.kill("baserunner");
        let what = "Cloudly hears of the restart";
        let after = stage
            .wait_node(what, PATIENCE, |node| {
                node.status
                    .as_ref()
                    .is_some_and(|status| status.agent.restart_count == restarts)
            })
            .await
            .unwrap();
        assert_eq!(after.id, node.id);
    }
    let registered = stage.cloudly.audit().await.unwrap();
    let registered = registered
        .iter()
        .filter(|line| line.action == "node.registered")
        .count();
    assert_eq!(registered, 1);
    stage.assert_sound().await;
}

#[tokio::test]
async fn an_update_is_applied_once_and_reported_once() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert!(stage.device.runs(V2));
    assert_eq!(posts(&stage, V2), 1);
    assert_eq!(posts(&stage, V1), 0, "it ran already");
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(stage.device.starts("baserunner"), 1, "the agent was not touched");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_lease_holds_an_update_back_until_it_is_given_back() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    let lock = LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 600,
        scope: LockScope::App,
    };
    stage.agent.lock("backup", &lock).await.unwrap();
    stage.want(V2).await.unwrap();
    let blocked = stage
        .wait_node("the update waits for the lock", PATIENCE, |node| {
            let update = node.status.as_ref().map(|status| &status.update);
            update.is_some_and(|update| {
                update.state == UpdateState::Waiting
                    && update
                        .blocked_by
                        .iter()
                        .any(|blocker| blocker.kind == BlockerKind::LocalLock)
            })
        })
        .await
        .unwrap();
    let blocker = blocked.status.unwrap().update.blocked_by.remove(0);
    assert_eq!(blocker.reason.as_deref(), Some("backup running"));
    assert_eq!(stage.lock_files().len(), 2, "the Supervisor sees the lease too");
    let refused = stage.agent.lock("another", &lock).await.unwrap_err().to_string();
    assert!(refused.contains("423"), "an update that waits drains: {refused}");
    assert_eq!(posts(&stage, V2), 0);

    stage.agent.unlock("backup").await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(posts(&stage, V2), 1);
    assert!(stage.lock_files().is_empty());
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_failing_release_is_rolled_back_and_not_tried_again_after_a_restart() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(BAD).await.unwrap();
    let node = stage.wait_ended(UpdateState::RolledBack, BAD, V1).await.unwrap();
    let error = node.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "healthCheckFailed");
    assert!(
        error.evidence.iter().any(|seen| seen.contains("onebox")),
        "{:?}",
        error.evidence
    );
    stage.wait_runs(V1, PATIENCE).await.unwrap();

    stage.device.kill("baserunner");
    stage
        .wait_node("the agent is back", PATIENCE, |node| {
            node.status
                .as_ref()
                .is_some_and(|status| status.agent.restart_count == 1)
        })
        .await
        .unwrap();
    // The same order once more, under a new revision.
    let revision = stage.want(BAD).await.unwrap();
    stage
        .wait_node("the order is heard", PATIENCE, |node| {
            node.observed_revision == revision
        })
        .await
        .unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(posts(&stage, BAD), 1, "known to be bad");
    assert_eq!(posts(&stage, V1), 1, "the way back");
    assert_eq!(stage.endings(BAD).await.unwrap(), ["rolled-back"]);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_release_that_replaces_the_agent_is_reported_once() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.publish(&release_with_agent()).await.unwrap();
    stage.want("d4d4d4d4").await.unwrap();
    let node = stage
        .wait_ended(UpdateState::Succeeded, "d4d4d4d4", "d4d4d4d4")
        .await
        .unwrap();
    assert!(
        node.status.unwrap().agent.restart_count >= 1,
        "it was replaced in mid-update"
    );
    assert_eq!(stage.endings("d4d4d4d4").await.unwrap(), ["succeeded"]);
    assert_eq!(posts(&stage, "d4d4d4d4"), 1);
    stage.assert_sound().await;
}

fn release_with_agent() -> baseos_simulator::harness::Version {
    let mut version = release(V3).with_agent("baserunner:2");
    version.commit = "d4d4d4d4".to_owned();
    version.version = "4.0.0".to_owned();
    version
}

#[tokio::test]
async fn a_lease_against_reboots_holds_updates_back_too_and_no_release_is_blamed_for_it() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    // balena knows one lock for both, so the Supervisor would not get past its files.
    let lock = LockRequest {
        reason: "disk check".into(),
        ttl_seconds: 600,
        scope: LockScope::Reboot,
    };
    stage.agent.lock("fsck", &lock).await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(posts(&stage, V2), 0);
    stage.agent.unlock("fsck").await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    stage.assert_sound().await;
}
