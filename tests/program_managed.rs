//! A managed Supervisor takes its target from its backend; the agent only tells it to look, and watches.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{Stage, wait_until};
use baseos_simulator::json::Json;
use program::{Deeds as _, PATIENCE, V1, V2, options, release};
use serde_json::{Map, Value, json};

/// What the backend serves for a release, in the form of the real one (v3).
fn served(commit: &str) -> Json {
    // With a backend the Supervisor deletes the images it replaces, and two releases that name the same one wedge it
    // for ever (observed): so each release has images of its own, and the agent is replaced with it.
    let agent = if commit == V1 {
        "baserunner:1"
    } else {
        "baserunner:2"
    };
    let release = release(commit).with_agent(agent).release();
    let mut services = Map::new();
    for (id, (name, service)) in (1u64..).zip(&release.services) {
        let image_id = if commit == V1 { id } else { id + 10 };
        let body = json!({
            "id": id, "image_id": image_id, "image": service.image, "environment": service.environment,
            "labels": service.labels, "composition": service.composition,
        });
        services.insert(name.clone(), body);
    }
    let id = if commit == V1 { 1 } else { 2 };
    let mut releases = Map::new();
    releases.insert(
        commit.to_owned(),
        json!({ "id": id, "services": services, "volumes": release.volumes, "networks": {} }),
    );
    // The app keeps the uuid it had without a backend: the only way to join one that keeps the data (observed, J5).
    let apps =
        json!({ "1": { "id": 1, "name": "baseos", "class": "fleet", "releases": Value::Object(releases) } });
    let target = json!({ "name": "simulated-device", "config": {}, "apps": apps });
    Json::parse(target.to_string().as_bytes()).unwrap()
}

/// The Supervisor ends, gets a backend and starts again, as it does in life.
async fn join_backend(stage: &Stage) {
    stage.device.set_down(true);
    let silent = |status: &baseos_interfaces::local::LocalStatus| !status.supervisor.available;
    stage
        .wait_agent("the Supervisor is away", PATIENCE, silent)
        .await
        .unwrap();
    stage.device.set_backend_target(&served(V1)).unwrap();
    stage.device.set_down(false);
    let managed = |status: &baseos_interfaces::local::LocalStatus| status.supervisor.managed == Some(true);
    stage
        .wait_agent("the Supervisor is managed", PATIENCE, managed)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_agent_triggers_an_update_and_never_hands_over_a_target_of_its_own() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    join_backend(&stage).await;
    stage.device.clear_requests();
    stage.device.set_backend_target(&served(V2)).unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.device.count("POST", "/v1/update"), 1);
    assert_eq!(stage.device.count("POST", "/v2/local/target-state"), 0);
    let node = stage.node().await.unwrap();
    let issues = node.status.unwrap().health.issues;
    assert!(
        issues.iter().all(|issue| issue.code != "supervisorApiExposed"),
        "{issues:?}"
    );
}

#[tokio::test]
async fn a_lock_file_of_a_stranger_holds_a_managed_update_back_and_is_named() {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    join_backend(&stage).await;
    let lock = stage.device.lock_dir(1, "baserunner").join("updates.lock");
    std::fs::write(&lock, "a stranger's").unwrap();
    let seen = async || match stage.agent.locks().await {
        Ok(locks) if !locks.foreign.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("the agent has seen the lock", PATIENCE, seen)
        .await
        .unwrap();
    stage.device.set_backend_target(&served(V2)).unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(
        stage.device.count("POST", "/v1/update"),
        0,
        "nothing is begun under a lock"
    );
    std::fs::remove_file(&lock).unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    let applied = async || match stage.device.runs(V2) {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    };
    wait_until("the device runs it", PATIENCE, applied).await.unwrap();
}
