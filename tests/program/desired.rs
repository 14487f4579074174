//! Changes of the desired release, and nodes that Cloudly does not accept any more.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, options, policy, with_slow_v2};
use baseos_interfaces::local::Check;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::stored_node_id;
use std::path::Path;

/// An agent in the middle of the update to `V2`.
async fn applying_v2() -> Fixture {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    fixture.desire(V2).await.unwrap();
    let applying = fixture.wait_update_state(UpdateState::Applying, V2);
    applying.await.unwrap();
    fixture
}

#[tokio::test]
async fn a_newer_release_supersedes_the_one_being_applied() {
    let fixture = applying_v2().await;
    fixture.desire(V3).await.unwrap();
    fixture.wait_update_succeeded(V3).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["superseded"]);
    assert_eq!(fixture.reported_ends(V3).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_release_withdrawn_while_it_is_applied_is_undone_and_the_next_one_applied() {
    let fixture = applying_v2().await;
    fixture.set_desired(None, policy()).await.unwrap();
    // Without a desired release the default policy decides how long the old one must stay healthy: two minutes.
    let undoing = fixture.wait_update_state(UpdateState::RollbackNeeded, V2);
    let status = undoing.await.unwrap();
    assert_eq!(status.update.error.unwrap().code, "withdrawn");
    let posted = fixture.wait_agent("the old release is posted", LIMIT, |_| {
        fixture.count_posts(V1) == 1
    });
    posted.await.unwrap();
    fixture.wait_runs(V1, LIMIT).await.unwrap();
    fixture.assert_consistent().await;
    fixture.desire(V3).await.unwrap();
    fixture.wait_update_succeeded(V3).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_cloudly_restored_from_a_backup_does_not_revert_the_device() {
    let mut fixture = Fixture::start(options()).await.unwrap();
    let (data, backup) = (fixture.dir().join("cloudly"), fixture.dir().join("backup"));
    fixture.cloudly.kill().await;
    copy_files(&data, &backup);
    fixture.cloudly.start_again().await.unwrap();
    let newest = fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();

    fixture.cloudly.kill().await;
    std::fs::remove_dir_all(&data).unwrap();
    copy_files(&backup, &data);
    fixture.cloudly.start_again().await.unwrap();
    let mut last_seen = None;
    for _ in 0..4 {
        let heartbeat = fixture.wait_node("a heartbeat", LIMIT, |node| {
            node.last_seen_at > last_seen && node.desired_revision < newest
        });
        last_seen = heartbeat.await.unwrap().last_seen_at;
    }
    let status = fixture.agent.status().await.unwrap();
    assert_eq!(status.observed_revision, newest);
    assert_eq!(status.running.as_deref(), Some(V2));
    assert_eq!(fixture.count_posts(V1), 0);
    fixture.assert_consistent().await;
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Waits until Cloudly refuses the agent, which keeps its apps and identity. Returns the doctor's check.
async fn refused_by_cloudly(fixture: &Fixture, fact: &str) -> Check {
    let node_id = || stored_node_id(&fixture.state_dir()).unwrap();
    let before = node_id();
    fixture.wait_connected(false).await.unwrap();
    let check = fixture.failed_check("cloudly").await;
    assert!(check.fact.contains(fact), "{check:?}");
    assert!(fixture.device.runs(V1), "the apps do not run");
    assert_eq!(node_id(), before);
    let doctor = fixture.run_command(&["doctor"]).await;
    assert_eq!(doctor.status.code(), Some(1));
    check
}

#[tokio::test]
async fn a_suspended_node_keeps_its_apps_and_goes_on_when_it_is_restored() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    fixture.cloudly.act_on_node(&node.id, "suspend").await.unwrap();
    refused_by_cloudly(&fixture, "suspended").await;
    fixture.cloudly.act_on_node(&node.id, "restore").await.unwrap();
    fixture.desire(V2).await.unwrap();
    let updated = fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(updated.id, node.id);
    fixture.assert_consistent().await;
}

/// Enrols with a new join token from the command line; returns the node's id.
async fn join_again(fixture: &Fixture) -> String {
    let token = fixture.new_join_token().await;
    let joined = fixture.run_command(&["join", &token]).await;
    assert!(joined.status.success(), "{joined:?}");
    fixture.wait_connected(true).await.unwrap();
    let id = fixture.agent.status().await.unwrap().node_id.unwrap();
    fixture.cloudly.node(&id).await.unwrap();
    assert_eq!(stored_node_id(&fixture.state_dir()).unwrap(), id);
    let state = std::fs::read_to_string(fixture.state_dir().join("state.json")).unwrap();
    assert!(!state.contains(&token), "the join token is still stored");
    id
}

#[tokio::test]
async fn a_removed_node_reports_it_and_enrols_with_a_new_join_token() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    fixture.cloudly.act_on_node(&node.id, "remove").await.unwrap();
    let check = refused_by_cloudly(&fixture, "removed").await;
    assert!(check.fix.unwrap().contains("baserunner join"));
    let id = join_again(&fixture).await;
    assert_ne!(id, node.id);
    let nodes = fixture.cloudly.nodes().await.unwrap();
    let active = nodes.iter().filter(|node| node.lifecycle == "active");
    assert_eq!(active.count(), 1);
    assert!(fixture.device.runs(V1));
}

#[tokio::test]
async fn a_node_with_an_unknown_token_reports_it_and_enrols_with_a_new_join_token() {
    let mut fixture = Fixture::start(options()).await.unwrap();
    // Cloudly loses its database.
    fixture.cloudly.kill().await;
    for file in std::fs::read_dir(fixture.dir().join("cloudly"))
        .unwrap()
        .flatten()
    {
        if file.file_name().to_string_lossy().starts_with("cloudly.db") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    fixture.cloudly.start_again().await.unwrap();
    let refused = fixture.wait_agent("the token is refused", LIMIT, |status| {
        let error = status.cloudly.error.as_ref();
        error.is_some_and(|error| error.contains("token"))
    });
    refused.await.unwrap();
    let check = refused_by_cloudly(&fixture, "token").await;
    assert!(check.fix.unwrap().contains("baserunner join"));
    join_again(&fixture).await;
    fixture.publish_and_apply_v1().await.unwrap();
    fixture.assert_consistent().await;
}
