//! Services that stop after their release has succeeded.

use crate::fixture::{Fixture, LIMIT, V2, has_issue, options};
use baseos_interfaces::admin::{CreateCommand, NodeRecord};
use baseos_interfaces::command::CommandAction;
use baseos_simulator::harness::{TestRelease, ensure, wait_until};

async fn running() -> Fixture {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture
}

#[tokio::test]
async fn a_container_stopped_with_docker_is_reported_and_started_again() {
    let fixture = running().await;
    fixture.device.stop_container("onebox");
    let reported = fixture.wait_node("the stop is reported", LIMIT, |node| {
        has_issue(node, "serviceStopped")
    });
    let issues = reported.await.unwrap().status.unwrap().health.issues;
    let detail = |text: &str| issues.iter().any(|issue| issue.detail.as_deref() == Some(text));
    assert!(detail("onebox: exited"), "{issues:?}");
    fixture.wait_runs(V2, LIMIT).await.unwrap();
    let gone = fixture.wait_node("the issue is gone", LIMIT, |node| {
        !has_issue(node, "serviceStopped")
    });
    gone.await.unwrap();
    assert_eq!(
        fixture.count_posts(V2),
        1,
        "no post starts a container that has exited"
    );
    assert_eq!(
        fixture.device.starts("baserunner"),
        1,
        "no other service was touched"
    );
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_deleted_container_comes_back_with_the_same_target() {
    let fixture = running().await;
    fixture.device.delete_container("onebox");
    let exists = || {
        fixture
            .device
            .with_model(|model, _| model.container("onebox").is_some())
    };
    let made = wait_until("the container is made again", LIMIT, async || {
        ensure(exists(), || "onebox has no container".to_owned())
    });
    made.await.unwrap();
    fixture.wait_runs(V2, LIMIT).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 2);
    let calls = fixture.device.requests();
    let service_calls = calls.iter().filter(|call| call.path.ends_with("-service"));
    assert_eq!(service_calls.count(), 0, "a call would have hit the agent");
    assert_eq!(fixture.device.starts("baserunner"), 1);
    assert_eq!(
        fixture.reported_ends(V2).await.unwrap(),
        ["succeeded"],
        "it is no update"
    );
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_supervisor_that_lost_its_database_gets_the_release_again() {
    let fixture = running().await;
    fixture.device.lose_database();
    fixture.wait_runs(V2, LIMIT).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 2);
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

/// The Supervisor starts no container that it has started before, so what an operator stopped stays stopped with a
/// release that keeps its container.
#[tokio::test]
async fn a_stopped_service_makes_no_release_bad_that_keeps_its_container() {
    const SAME: &str = "5a5a5a5a";
    let fixture = running().await;
    let node = fixture.node().await.unwrap();
    let command = CreateCommand {
        action: CommandAction::StopService {
            service: "onebox".to_owned(),
        },
        ttl_seconds: None,
    };
    fixture.cloudly.create_command(&node.id, &command).await.unwrap();
    let stopped = |node: &NodeRecord| {
        let status = node.status.as_ref()?;
        let onebox = status.release.as_ref()?.services.get("onebox")?;
        Some(onebox.status.eq_ignore_ascii_case("exited") && onebox.stopped_by_operator)
    };
    let told = fixture.wait_node("the stop is told", LIMIT, |node| stopped(node) == Some(true));
    told.await.unwrap();
    assert_eq!(
        fixture.agent.status().await.unwrap().stopped_by_operator,
        ["onebox"]
    );
    fixture
        .publish(&TestRelease::new(SAME, "2.0.1", "onebox:2"))
        .await
        .unwrap();
    fixture.desire(SAME).await.unwrap();
    let node = fixture.wait_update_succeeded(SAME).await.unwrap();
    assert_eq!(stopped(&node), Some(true));
    fixture.assert_consistent().await;
}

/// Nobody can see with which code it ended, and the operator who wrote `restart: "no"` expects it to end.
#[tokio::test]
async fn a_service_that_is_to_run_once_is_done_when_it_ends() {
    const JOB: &str = "0b0b0b0b";
    let fixture = Fixture::start(options()).await.unwrap();
    let job = TestRelease::new(JOB, "0.0.3", "onebox:crashes").with_onebox_restart("no");
    fixture.publish(&job).await.unwrap();
    fixture.desire(JOB).await.unwrap();
    let node = fixture.wait_update_succeeded(JOB).await.unwrap();
    assert!(!has_issue(&node, "serviceStopped"));
    fixture.assert_consistent().await;
}
