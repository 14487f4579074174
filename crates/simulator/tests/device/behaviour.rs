//! Processes, locks, reboots and crashes.

use crate::fixture::{Fixture, LIMIT, V1, V2};
use crate::logs::LogStream;
use baseos_simulator::harness::{Address, TestRelease, call, ensure, wait_until};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::Config;
use std::path::PathBuf;

/// A variable of the agent's environment.
fn agent_variable(fixture: &Fixture, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(fixture.device.run_dir().join("env")).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")))
        .map(str::to_owned)
}

#[tokio::test]
async fn the_agent_is_a_process_with_the_environment_of_its_container() {
    let fixture = Fixture::running().await;
    let device = &fixture.device;
    let text = |name: &str| agent_variable(&fixture, name);
    let path = |name: &str| agent_variable(&fixture, name).map(PathBuf::from);
    assert_eq!(text("BALENA_SUPERVISOR_ADDRESS"), Some(device.supervisor_url()));
    assert_eq!(text("BALENA_SERVICE_NAME").as_deref(), Some("baserunner"));
    assert_eq!(text("BALENA_APP_ID").as_deref(), Some("1"));
    assert_eq!(text("HOME"), None, "the environment of the test is not passed on");
    assert_eq!(path("BASEOS_STATE_DIR"), Some(device.volume_dir(1, "baseos")));
    assert_eq!(path("BASEOS_LOCK_DIR"), Some(device.lock_dir(1, "baserunner")));
}

#[tokio::test]
async fn only_a_release_with_another_agent_image_replaces_the_agent() {
    let fixture = Fixture::running().await;
    let pid = fixture.device.pid("baserunner");
    assert!(pid.is_some());
    fixture.post(&TestRelease::new(V2, "2", "onebox:2"));
    fixture.wait_runs(V2).await;
    assert_eq!(fixture.device.pid("baserunner"), pid, "renamed, not restarted");

    fixture.post(&TestRelease::new("c3c3c3c3", "3", "onebox:2").with_agent_image("baserunner:2"));
    fixture.wait_runs("c3c3c3c3").await;
    fixture.wait_agent_line("hello", 2).await;
    fixture.wait_agent_line("goodbye", 1).await;
    assert_ne!(fixture.device.pid("baserunner"), pid);
}

#[tokio::test]
async fn a_killed_agent_is_started_again_and_restart_service_replaces_it() {
    let fixture = Fixture::running().await;
    fixture.device.kill("baserunner");
    fixture.wait_agent_line("hello", 2).await;
    let path = "/v2/applications/1/restart-service";
    let body = r#"{"serviceName":"baserunner"}"#;
    let answer = fixture.call("POST", path, Some(body)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    fixture.wait_agent_line("hello", 3).await;
}

#[tokio::test]
async fn a_lock_file_holds_an_update_back_until_it_is_removed() {
    let fixture = Fixture::running().await;
    fixture.device.take_lock(1, "onebox").unwrap();
    fixture.post(&TestRelease::new(V2, "2", "onebox:2"));
    let failed = async || {
        let answer = fixture.call("GET", "/v1/device", None).await;
        let body = answer.map_err(|error| error.to_string())?.body;
        ensure(body.contains(r#""update_failed":true"#), || body)
    };
    wait_until("the update has failed", LIMIT, failed).await.unwrap();
    let answer = fixture
        .call("POST", "/v2/applications/1/restart", Some("{}"))
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 423);
    assert_eq!(
        answer.body,
        r#"{"status":"failed","message":"Lockfile exists for { appId: 1, service: onebox }"}"#
    );
    fixture.device.release_lock(1, "onebox");
    fixture.wait_runs(V2).await;
    let lock_dir = fixture.device.lock_dir(1, "onebox");
    let files: Vec<_> = std::fs::read_dir(lock_dir).unwrap().collect();
    assert!(files.is_empty(), "the Supervisor's own locks are left: {files:?}");
}

#[tokio::test]
async fn a_reboot_answers_cuts_connections_and_starts_the_same_containers() {
    let fixture = Fixture::running().await;
    let boot_id = || std::fs::read_to_string(fixture.device.dir().join("boot_id")).unwrap();
    let container_id = || {
        fixture
            .device
            .with_model(|model, _| model.container("onebox").unwrap().id.clone())
    };
    let before = (boot_id(), container_id());
    let mut log = LogStream::open(&fixture.device).await;
    let answer = fixture.call("POST", "/v1/reboot", Some("{}")).await.unwrap();
    let expected = (202, r#"{"Data":"OK","Error":null}"#);
    assert_eq!((answer.status, answer.body.as_str()), expected);
    log.wait_end().await;
    fixture.wait_port_open().await;
    fixture.wait_runs(V1).await;
    fixture.wait_agent_line("hello", 2).await;
    assert_eq!(container_id(), before.1);
    assert_ne!(boot_id(), before.0);
}

#[tokio::test]
async fn a_crashed_supervisor_stays_down_until_it_is_restarted_and_keeps_its_target() {
    let fixture = Fixture::running().await;
    let crash = r#"{"local":{"apps":{"base":{"name":"x","services":{}}}}}"#;
    let answer = fixture.call("POST", "/v2/local/target-state", Some(crash)).await;
    assert!(answer.is_err(), "{answer:?}");
    fixture.wait_port_closed().await;
    fixture.device.delete_container("onebox");
    fixture.device.restart_supervisor();
    let both = async || {
        let status = fixture.device.status();
        let containers = status.get("containers").map(Json::items).unwrap_or_default();
        ensure(containers.len() == 2, || status.to_text())
    };
    wait_until("the deleted container is made again", LIMIT, both)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_managed_supervisor_requires_a_key_and_gets_its_target_from_its_backend() {
    let fixture = Fixture::start().await;
    fixture.device.set_managed(true);
    let answer = fixture.call("GET", "/v1/device", None).await.unwrap();
    assert_eq!(answer.status, 401);
    let target = r#"{"name":"device","config":{},"apps":{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{"id":1,"name":"baseos",
        "releases":{"a1a1a1a1":{"id":1,"services":{"onebox":{"id":2,"image_id":2,"image":"onebox:1","environment":{},
        "labels":{}}}}}}}}"#;
    let target = Json::parse(target.as_bytes()).unwrap();
    fixture.device.set_backend_target(&target).unwrap();
    let address = Address::parse(&fixture.device.supervisor_url()).unwrap();
    let key = Config::default().api_key;
    let answer = call(&address, "POST", &format!("/v1/update?apikey={key}"), None, None).await;
    assert_eq!(answer.unwrap().status, 204);
    fixture.wait_runs(V1).await;
    let requests = fixture.device.requests();
    let without_key = requests.iter().all(|logged| !logged.path.contains(&key));
    assert!(without_key, "{requests:?}");
}

#[tokio::test]
async fn a_dropped_device_leaves_no_process() {
    let fixture = Fixture::running().await;
    let pid = fixture.device.pid("baserunner").unwrap();
    drop(fixture);
    let gone = async || {
        // A process that has ended but was not waited for still has a directory; its command line is empty.
        let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        ensure(command_line.is_empty(), || "it runs".to_owned())
    };
    wait_until("the process has ended", LIMIT, gone).await.unwrap();
}
