//! Enrolment and updates without failures of neighbours.

use crate::fixture::{
    BAD, Fixture, LIMIT, V1, V2, V3, is_blocked_by, lock_request, options, policy, release, with_slow_v2,
};
use baseos_interfaces::desired::{Force, Policy};
use baseos_interfaces::local::LockScope;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::{ensure, wait_until};
use std::os::unix::fs::MetadataExt as _;

#[tokio::test]
async fn a_restart_does_not_enrol_again() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    for restarts in 1..=2 {
        fixture.device.kill("baserunner");
        let restarted = fixture.wait_restart_count(restarts).await.unwrap();
        assert_eq!(restarted.id, node.id);
    }
    let audit = fixture.cloudly.audit().await.unwrap();
    let registrations = audit.iter().filter(|line| line.action == "node.registered");
    assert_eq!(registrations.count(), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn an_update_is_posted_once_and_reported_once() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert!(fixture.device.runs(V2));
    assert_eq!(fixture.count_posts(V2), 1);
    assert_eq!(fixture.count_posts(V1), 0, "it ran already");
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(fixture.device.starts("baserunner"), 1, "the agent was restarted");
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_lock_holds_an_update_back_until_it_is_released() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    fixture.desire(V2).await.unwrap();
    let blocked = fixture.wait_node("the update waits for the lock", LIMIT, |node| {
        let status = node.status.as_ref();
        is_blocked_by(node, BlockerKind::LocalLock)
            && status.is_some_and(|status| status.update.state == UpdateState::Waiting)
    });
    let update = blocked.await.unwrap().status.unwrap().update;
    let reason = update.blocked_by[0].reason.as_deref();
    assert_eq!(reason, Some("backup running"));
    assert_eq!(
        fixture.lock_files().len(),
        2,
        "the Supervisor does not see the lock"
    );
    let request = lock_request(LockScope::App, 600);
    let refused = fixture.agent.lock("another", &request).await.unwrap_err();
    assert!(refused.to_string().contains("423"), "{refused}");
    assert_eq!(fixture.count_posts(V2), 0);

    fixture.agent.unlock("backup").await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    assert!(fixture.lock_files().is_empty());
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_bad_release_is_rolled_back_and_not_tried_again_after_a_restart() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.desire(BAD).await.unwrap();
    let rolled_back = fixture.wait_update_ended(UpdateState::RolledBack, BAD, V1);
    let error = rolled_back.await.unwrap().status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "healthCheckFailed");
    let names_onebox = error.evidence.iter().any(|seen| seen.contains("onebox"));
    assert!(names_onebox, "{:?}", error.evidence);
    fixture.wait_runs(V1, LIMIT).await.unwrap();

    fixture.device.kill("baserunner");
    fixture.wait_restart_count(1).await.unwrap();
    // The same release with another revision.
    let revision = fixture.desire(BAD).await.unwrap();
    let observed = fixture.wait_node("the revision is observed", LIMIT, |node| {
        node.observed_revision == revision
    });
    observed.await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(BAD), 1);
    assert_eq!(fixture.count_posts(V1), 1, "the rollback");
    assert_eq!(fixture.reported_ends(BAD).await.unwrap(), ["rolled-back"]);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_release_that_replaces_the_agent_is_applied_and_reported_once() {
    const V4: &str = "d4d4d4d4";
    let fixture = Fixture::start(options()).await.unwrap();
    let mut v4 = release(V3).with_agent_image("baserunner:2");
    (v4.commit, v4.version) = (V4.to_owned(), "4.0.0".to_owned());
    fixture.publish(&v4).await.unwrap();
    fixture.desire(V4).await.unwrap();
    let node = fixture.wait_update_succeeded(V4).await.unwrap();
    let restarts = node.status.unwrap().agent.restart_count;
    assert!(restarts >= 1, "the agent was not replaced");
    assert_eq!(fixture.reported_ends(V4).await.unwrap(), ["succeeded"]);
    fixture.wait_guard("baserunner:2", V4).await.unwrap();
    assert_eq!(
        fixture.count_posts(V4),
        2,
        "the update, and the guard's move afterwards"
    );
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_lock_against_reboots_holds_updates_back_too() {
    let fixture = Fixture::start(options()).await.unwrap();
    // balena has one lock for both: the Supervisor would not update past its files.
    fixture.lock(LockScope::Reboot, 600).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 0);
    fixture.agent.unlock("backup").await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}

/// The device is delivered with a release that nobody has applied through this agent.
async fn bad_first_update(fixture: &Fixture) {
    fixture.publish(&release(BAD)).await.unwrap();
    fixture.desire(BAD).await.unwrap();
    let rolled_back = fixture.wait_update_ended(UpdateState::RolledBack, BAD, V1);
    rolled_back.await.unwrap();
    fixture.wait_runs(V1, LIMIT).await.unwrap();
    // What was gone back to has proved itself.
    fixture.wait_guard("baserunner:1", V1).await.unwrap();
    assert_eq!(
        fixture.count_posts(V1),
        2,
        "the rollback, and the guard beside it"
    );
    assert_eq!(
        fixture.device.starts("baserunner"),
        1,
        "the agent was not touched"
    );
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn the_first_update_is_rolled_back_to_the_release_that_cloudly_knows() {
    let fixture = Fixture::start_without_releases(options()).await.unwrap();
    fixture.publish(&release(V1)).await.unwrap();
    bad_first_update(&fixture).await;
}

#[tokio::test]
async fn the_first_update_is_rolled_back_to_the_supervisors_own_target() {
    let fixture = Fixture::start_without_releases(options()).await.unwrap();
    bad_first_update(&fixture).await;
}

#[tokio::test]
async fn a_lock_taken_while_images_are_fetched_holds_back_the_change_of_containers() {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    let stall = |stalled| {
        fixture
            .device
            .with_model(|model, _| model.registry.stalled = stalled);
    };
    stall(true);
    fixture.desire(V2).await.unwrap();
    fixture
        .wait_update_state(UpdateState::Applying, V2)
        .await
        .unwrap();
    let fetching = fixture.wait_node("it is being fetched", LIMIT, |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.update.progress_percent.is_some())
    });
    fetching.await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    assert_eq!(fixture.lock_files().len(), 2, "granted means held");
    stall(false);
    let blocked = fixture.wait_node("the Supervisor meets the lock", LIMIT, |node| {
        is_blocked_by(node, BlockerKind::LocalLock)
    });
    let update = blocked.await.unwrap().status.unwrap().update;
    assert_eq!(update.state, UpdateState::Applying);
    assert_eq!(update.blocked_by[0].reason.as_deref(), Some("backup running"));
    assert!(!fixture.device.runs(V2));
    fixture.agent.unlock("backup").await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_forced_update_deletes_the_lock_files_of_a_lease_and_they_are_made_again() {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    // An inode may be used again, but not with the same time.
    let files = || -> Vec<(u64, i64, i64)> {
        let identity =
            |path| std::fs::metadata(path).map(|found| (found.ino(), found.ctime(), found.ctime_nsec()));
        fixture.lock_files().iter().flat_map(identity).collect()
    };
    let before = files();
    assert_eq!(before.len(), 2);
    let forced = Policy {
        force: Some(Force {
            by: "operator".into(),
            reason: "cannot wait for the backup".into(),
            expires_at: None,
        }),
        ..policy()
    };
    fixture.set_desired(Some(V2), forced).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    let made_again = wait_until("the lock files are there again", LIMIT, async || {
        let now = files();
        ensure(
            now.len() == 2 && now.iter().all(|file| !before.contains(file)),
            || format!("{before:?}, now {now:?}"),
        )
    });
    made_again.await.unwrap();
    assert_eq!(
        fixture.agent.locks().await.unwrap().locks.len(),
        1,
        "the lease lives on"
    );
}
