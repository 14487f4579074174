//! A Supervisor with a backend gets its target from there: the agent only triggers the update and watches it.

use crate::fixture::{Fixture, LIMIT, V1, V2, options, release};
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::wait_until;
use baseos_simulator::json::Json;
use serde_json::{Map, Value, json};

/// The backend's target for a release, in the form of the real one (v3).
fn backend_target(commit: &str) -> Json {
    // With a backend the Supervisor deletes the images that it replaces, and never applies a release with one of them
    // (observed). So each release has its own images, and replaces the agent too.
    let agent_image = if commit == V1 {
        "baserunner:1"
    } else {
        "baserunner:2"
    };
    let release = release(commit).with_agent_image(agent_image).create_request();
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
    // The app keeps the uuid that it had without a backend: only then its data is kept (observed).
    let apps =
        json!({ "1": { "id": 1, "name": "baseos", "class": "fleet", "releases": Value::Object(releases) } });
    let target = json!({ "name": "simulated-device", "config": {}, "apps": apps });
    Json::parse(target.to_string().as_bytes()).unwrap()
}

/// The Supervisor of a running device gets a backend.
async fn with_backend() -> Fixture {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.device.set_port_closed(true);
    fixture.wait_supervisor_available(false).await.unwrap();
    let target = backend_target(V1);
    fixture.device.set_backend_target(&target).unwrap();
    fixture.device.set_port_closed(false);
    let managed = fixture.wait_agent("the Supervisor is managed", LIMIT, |status| {
        status.supervisor.managed == Some(true)
    });
    managed.await.unwrap();
    fixture
}

async fn desire_v2(fixture: &Fixture) {
    let target = backend_target(V2);
    fixture.device.set_backend_target(&target).unwrap();
    fixture.desire(V2).await.unwrap();
}

#[tokio::test]
async fn the_agent_triggers_an_update_and_posts_no_target() {
    let fixture = with_backend().await;
    fixture.device.clear_requests();
    desire_v2(&fixture).await;
    let node = fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.device.count_requests("POST", "/v1/update"), 1);
    let posts = fixture.device.count_requests("POST", "/v2/local/target-state");
    assert_eq!(posts, 0);
    let issues = node.status.unwrap().health.issues;
    let exposed = issues.iter().any(|issue| issue.code == "supervisorApiExposed");
    assert!(!exposed, "{issues:?}");
}

#[tokio::test]
async fn a_lock_file_of_another_program_holds_an_update_back_and_is_reported() {
    let fixture = with_backend().await;
    let file = fixture.device.lock_dir(1, "baserunner").join("updates.lock");
    std::fs::write(&file, "of another program").unwrap();
    let reported = async || match fixture.agent.locks().await {
        Ok(locks) if !locks.foreign.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("the lock is reported", LIMIT, reported).await.unwrap();
    desire_v2(&fixture).await;
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(fixture.device.count_requests("POST", "/v1/update"), 0);
    std::fs::remove_file(&file).unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.wait_runs(V2, LIMIT).await.unwrap();
}
