//! The agent of a device whose Cloudly was restored from a backup.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, options};
use baseos_interfaces::admin::CreateCommand;
use baseos_interfaces::command::CommandAction;
use baseos_simulator::harness::{ensure, read_state, wait_until};
use std::path::Path;
use std::process::Output;

/// `cloudly` with the database of the fixture's server.
async fn cloudly(fixture: &Fixture, args: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_baserunner")).with_file_name("cloudly");
    let dir = fixture.dir().join("cloudly");
    let mut command = tokio::process::Command::new(program);
    command.args(args).env_clear().current_dir(dir).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

fn node_token(fixture: &Fixture) -> Option<String> {
    let state = read_state(&fixture.state_dir()).ok()?;
    state["credentials"]["nodeToken"].as_str().map(str::to_owned)
}

/// Lets Cloudly change the node's token, so many times.
async fn rotate(fixture: &Fixture, node: &str, times: usize) {
    for _ in 0..times {
        let before = node_token(fixture);
        let command = CreateCommand {
            action: CommandAction::RotateToken {},
            ttl_seconds: None,
        };
        fixture.cloudly.create_command(node, &command).await.unwrap();
        let changed = wait_until("the token is changed", LIMIT, async || {
            let now = node_token(fixture);
            ensure(now.is_some() && now != before, || "it is the old one".to_owned())
        });
        changed.await.unwrap();
    }
}

#[tokio::test]
async fn a_device_with_a_later_token_and_release_goes_on_with_a_restored_cloudly() {
    let mut fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    let first = node_token(&fixture);
    cloudly(&fixture, &["backup", "--to", "backup"]).await;
    rotate(&fixture, &node.id, 2).await;
    let seen = fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();

    fixture.cloudly.kill().await;
    cloudly(&fixture, &["restore", "--from", "backup", "--replace"]).await;
    fixture.cloudly.start_again().await.unwrap();
    let mut last_seen = None;
    for _ in 0..3 {
        let heartbeat = fixture.wait_node("a heartbeat", LIMIT, |node| {
            node.last_seen_at > last_seen && node.observed_revision == seen && node.desired_revision < seen
        });
        last_seen = heartbeat.await.unwrap().last_seen_at;
    }
    assert_eq!(node_token(&fixture), first);
    let status = fixture.agent.status().await.unwrap();
    assert_eq!(status.running.as_deref(), Some(V2));
    assert_eq!(
        (status.node_id.as_ref(), fixture.count_posts(V1)),
        (Some(&node.id), 0)
    );

    // The next order reaches it, also when it was given before the device was heard.
    fixture.desire(V3).await.unwrap();
    fixture.wait_update_succeeded(V3).await.unwrap();
    rotate(&fixture, &node.id, 1).await;
    fixture.assert_consistent().await;
}
