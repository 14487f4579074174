//! A data volume that was copied: two agents are one node.

use crate::fixture::{Fixture, LIMIT, V2, agent_command, options};
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::{LocalApi, ensure, wait_until};
use std::process::Stdio;

#[tokio::test]
async fn two_agents_with_copies_of_one_state_begin_nothing_until_an_operator_decides() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (state, run) = (dir.path().join("state"), dir.path().join("run"));
    std::fs::create_dir_all(&state).unwrap();
    for name in ["state.json", "state.json.previous"] {
        std::fs::copy(fixture.state_dir().join(name), state.join(name)).unwrap();
    }
    let mut clone = agent_command(&state, &run)
        .env("BASEOS_CLOUDLY_URL", fixture.cloudly.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let suspected = fixture.wait_node("a clone is suspected", LIMIT, |node| node.clone_suspected);
    suspected.await.unwrap();
    fixture.desire(V2).await.unwrap();
    for (name, api) in [
        ("the device", &fixture.agent),
        ("the clone", &LocalApi::new(&run)),
    ] {
        let told = api.wait_status("it is told", LIMIT, |status| {
            let mut issues = status.issues.iter();
            issues.any(|issue| issue.code == IssueCode::CloneSuspected)
        });
        let status = told.await.unwrap();
        assert_eq!(status.node_id.as_ref(), Some(&node.id), "{name}");
    }
    // Both go on to call Cloudly, and get nothing to do.
    let seen = fixture.node().await.unwrap().last_seen_at;
    let later = fixture.wait_node("more heartbeats", LIMIT, |node| {
        let seconds = |at: Option<baseos_interfaces::Timestamp>| at.unwrap().as_second();
        seconds(node.last_seen_at) > seconds(seen) + 3
    });
    assert!(later.await.unwrap().clone_suspected);
    assert_eq!(fixture.count_posts(V2), 0);
    assert_eq!(fixture.cloudly.nodes().await.unwrap().len(), 1);

    clone.kill().await.unwrap();
    fixture
        .cloudly
        .act_on_node(&node.id, "clear-clone")
        .await
        .unwrap();
    let updated = fixture.wait_update_succeeded(V2).await.unwrap();
    assert!(!updated.clone_suspected && updated.id == node.id);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_suspicion_holds_back_an_update_that_waits_already() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    fixture
        .lock(baseos_interfaces::local::LockScope::App, 600)
        .await
        .unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (state, run) = (dir.path().join("state"), dir.path().join("run"));
    std::fs::create_dir_all(&state).unwrap();
    std::fs::copy(fixture.state_dir().join("state.json"), state.join("state.json")).unwrap();
    let mut clone = agent_command(&state, &run)
        .env("BASEOS_CLOUDLY_URL", fixture.cloudly.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let blocked = fixture.wait_agent("it waits for the operator too", LIMIT, |status| {
        let mut blockers = status.update.blocked_by.iter();
        blockers.any(|blocker| blocker.kind == BlockerKind::CloneSuspected)
    });
    blocked.await.unwrap();
    fixture.agent.unlock("backup").await.unwrap();
    let unlocked = wait_until("only the suspicion is left", LIMIT, async || {
        let status = fixture.agent.status().await.map_err(|error| error.to_string())?;
        let kinds: Vec<_> = status
            .update
            .blocked_by
            .iter()
            .map(|blocker| blocker.kind)
            .collect();
        ensure(kinds == [BlockerKind::CloneSuspected], || format!("{kinds:?}"))
    });
    unlocked.await.unwrap();
    assert_eq!(fixture.count_posts(V2), 0);
    clone.kill().await.unwrap();
    fixture
        .cloudly
        .act_on_node(&node.id, "clear-clone")
        .await
        .unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}
