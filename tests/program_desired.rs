//! What Cloudly desires, and whether it wants this node at all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::admin::CreateJoinToken;
use baseos_interfaces::local::Check;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{Stage, StageOptions, read_state};
use baseos_simulator::supervisor::{Behaviour, Image};
use program::{Deeds as _, PATIENCE, V1, V2, V3, options, policy, posts};
use std::path::Path;

fn slow() -> StageOptions {
    let mut options = options();
    options.registry = options
        .registry
        .with("onebox:2", Image::new(Behaviour::Runs, 3000));
    options
}

#[tokio::test]
async fn a_newer_order_takes_the_place_of_the_one_under_way() {
    let stage = Stage::start(slow()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    stage.want(V3).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V3, V3).await.unwrap();
    assert_eq!(stage.endings(V2).await.unwrap(), ["superseded"]);
    assert_eq!(stage.endings(V3).await.unwrap(), ["succeeded"]);
    stage.assert_sound().await;
}

#[tokio::test]
async fn an_order_withdrawn_in_mid_update_is_undone_and_the_next_one_taken() {
    let stage = Stage::start(slow()).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    stage.desire(None, policy()).await.unwrap();
    // Nothing is desired, so no policy says how long the old release must stay healthy: the default's two minutes.
    let status = stage.wait_phase(UpdateState::RollbackNeeded, V2).await.unwrap();
    assert_eq!(status.update.error.unwrap().code, "withdrawn");
    stage
        .wait_agent("the old release is handed over", PATIENCE, |_| {
            posts(&stage, V1) == 1
        })
        .await
        .unwrap();
    stage.wait_runs(V1, PATIENCE).await.unwrap();
    stage.assert_sound().await;
    stage.want(V3).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V3, V3).await.unwrap();
    assert_eq!(posts(&stage, V2), 1);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_cloudly_restored_from_a_backup_does_not_take_the_device_back() {
    let mut stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    let (data, backup) = (stage.dir().join("cloudly"), stage.dir().join("backup"));
    stage.cloudly.kill().await;
    copy(&data, &backup);
    stage.cloudly.start_again().await.unwrap();
    let newest = stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();

    stage.cloudly.kill().await;
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    stage.cloudly.start_again().await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let node = stage
            .wait_node("it goes on beating", PATIENCE, |node| {
                node.last_seen_at > seen.last().copied() && node.desired_revision < newest
            })
            .await
            .unwrap();
        seen.extend(node.last_seen_at);
    }
    let status = stage.agent.status().await.unwrap();
    assert_eq!(
        (status.observed_revision, status.running.as_deref()),
        (newest, Some(V2))
    );
    assert_eq!(posts(&stage, V1), 0);
    stage.assert_sound().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Waits until the doctor's check of Cloudly is not in order and says this; apps and identity are as before.
async fn disowned(stage: &Stage, fact: &str) -> Check {
    let before = read_state(&stage.state_dir()).unwrap()["checkpoint"]["book"]["node"]["id"].clone();
    stage
        .wait_agent("the agent notices", PATIENCE, |status| !status.cloudly.connected)
        .await
        .unwrap();
    let doctor = stage.agent.doctor().await.unwrap();
    let check = doctor
        .checks
        .into_iter()
        .find(|check| check.name == "cloudly")
        .unwrap();
    assert!(!check.ok && check.fact.contains(fact), "{check:?}");
    assert!(stage.device.runs(V1), "apps go on");
    let after = read_state(&stage.state_dir()).unwrap()["checkpoint"]["book"]["node"]["id"].clone();
    assert_eq!(after, before, "the identity is kept");
    let said = stage.command(&["doctor"]).await;
    assert_eq!(said.status.code(), Some(1));
    check
}

#[tokio::test]
async fn a_suspended_node_keeps_what_it_has_and_goes_on_when_it_is_restored() {
    let stage = Stage::start(options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    stage.cloudly.decide(&node.id, "suspend").await.unwrap();
    disowned(&stage, "suspended").await;
    stage.cloudly.decide(&node.id, "restore").await.unwrap();
    stage.want(V2).await.unwrap();
    let after = stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(after.id, node.id);
    stage.assert_sound().await;
}

/// Gives the node a new join token by hand; it is a node of Cloudly's again, and can be updated.
async fn join_again(stage: &Stage) {
    let token = stage
        .cloudly
        .create_join_token(&CreateJoinToken::default())
        .await
        .unwrap();
    let joined = stage.command(&["join", token.token.expose()]).await;
    assert!(joined.status.success(), "{joined:?}");
    stage
        .wait_agent("it is in touch again", PATIENCE, |status| {
            status.cloudly.connected
        })
        .await
        .unwrap();
    let id = stage.agent.status().await.unwrap().node_id.unwrap();
    stage.cloudly.node(&id).await.unwrap();
    let stored = read_state(&stage.state_dir()).unwrap();
    assert_eq!(stored["checkpoint"]["book"]["node"]["id"], id.as_str());
    assert!(
        stored["credentials"]["joinToken"].is_null(),
        "the join token is forgotten"
    );
}

#[tokio::test]
async fn a_removed_node_asks_for_a_new_join_token_and_takes_it() {
    let stage = Stage::start(options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    stage.cloudly.decide(&node.id, "remove").await.unwrap();
    let check = disowned(&stage, "removed").await;
    assert!(check.fix.unwrap().contains("baserunner join"));
    join_again(&stage).await;
    let id = stage.agent.status().await.unwrap().node_id.unwrap();
    assert_ne!(id, node.id, "removed is removed");
    let live = stage.cloudly.nodes().await.unwrap();
    assert_eq!(live.iter().filter(|node| node.lifecycle == "active").count(), 1);
    assert!(stage.device.runs(V1));
}

#[tokio::test]
async fn a_node_whose_token_nobody_knows_asks_for_a_new_join_token_and_takes_it() {
    let mut stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    // Cloudly has lost its database.
    stage.cloudly.kill().await;
    for file in std::fs::read_dir(stage.dir().join("cloudly")).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("cloudly.db") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    stage.cloudly.start_again().await.unwrap();
    stage
        .wait_agent("it is refused", PATIENCE, |status| {
            status
                .cloudly
                .error
                .as_ref()
                .is_some_and(|error| error.contains("token"))
        })
        .await
        .unwrap();
    let check = disowned(&stage, "token").await;
    assert!(check.fix.unwrap().contains("baserunner join"));
    join_again(&stage).await;
    stage.settle().await.unwrap();
    stage.assert_sound().await;
}
