//! The device around the model: real HTTP, real processes, real lock files, faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use baseos_simulator::clock::sleep;
use baseos_simulator::device::{Device, DeviceConfig, Fault, FaultKind};
use baseos_simulator::harness::{Address, Response, Version, call, wait_until};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Config, Image, Registry, Timing};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const V1: &str = "a1a1a1a1";
const V2: &str = "b2b2b2b2";

/// Stands for the agent: writes its environment down, says goodbye when told to stop.
fn program(dir: &Path) -> PathBuf {
    let file = dir.join("agent.sh");
    let text = "#!/bin/sh\nenv > \"$BASEOS_RUN_DIR/env\"\ntrap 'echo goodbye; exit 0' TERM\necho hello\nwhile :; do sleep 0.05; done\n";
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

async fn device(dir: &tempfile::TempDir, managed: bool) -> Device {
    let registry = Registry::default()
        .with("baserunner:1", Image::agent(50))
        .with("baserunner:2", Image::agent(50))
        .with("onebox:1", Image::new(Default::default(), 50))
        .with("onebox:2", Image::new(Default::default(), 50));
    let config = DeviceConfig {
        supervisor: Config {
            timing: Timing::fast(),
            managed,
            ..Config::default()
        },
        registry,
        program: Some(program(dir.path())),
        ..DeviceConfig::default()
    };
    Device::start(config).await.unwrap()
}

async fn running(dir: &tempfile::TempDir) -> Device {
    let device = device(dir, false).await;
    device.post_target(&Version::new(V1, "1", "onebox:1").local_target("lab"));
    runs(&device, V1).await;
    device
}

async fn runs(device: &Device, commit: &str) {
    let what = format!("{commit} runs");
    let look = async || {
        if device.runs(commit) {
            Ok(())
        } else {
            Err(device.status().to_text())
        }
    };
    wait_until(&what, SOON, look)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", device.supervisor_log()));
}

async fn ask(
    device: &Device,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> baseos_simulator::harness::Result<Response> {
    call(
        &Address::parse(&device.supervisor_url())?,
        method,
        path,
        None,
        body.map(str::to_owned),
    )
    .await
}

async fn says(device: &Device, count: usize, line: &str) {
    let look = async || {
        let log = device.log_tail("baserunner", 100);
        if log.matches(line).count() >= count {
            Ok(())
        } else {
            Err(log)
        }
    };
    wait_until(line, SOON, look).await.unwrap();
}

fn environment(device: &Device, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(device.run_dir().join("env")).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")))
        .map(str::to_owned)
}

#[tokio::test]
async fn the_agent_is_a_real_process_with_the_containers_environment() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    says(&device, 1, "hello").await;
    assert_eq!(
        environment(&device, "BALENA_SUPERVISOR_ADDRESS"),
        Some(device.supervisor_url())
    );
    assert_eq!(
        environment(&device, "BALENA_SERVICE_NAME").as_deref(),
        Some("baserunner")
    );
    assert_eq!(environment(&device, "BALENA_APP_ID").as_deref(), Some("1"));
    assert_eq!(
        environment(&device, "HOME"),
        None,
        "nothing of this machine's environment leaks in"
    );
    let state = environment(&device, "BASEOS_STATE_DIR").map(PathBuf::from);
    assert_eq!(state, Some(device.volume_dir(1, "baseos")));
    assert_eq!(
        environment(&device, "BASEOS_LOCK_DIR").map(PathBuf::from),
        Some(device.lock_dir(1, "baserunner"))
    );
}

#[tokio::test]
async fn a_release_that_changes_only_onebox_leaves_the_agent_alone_and_one_that_changes_it_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    says(&device, 1, "hello").await;
    let pid = device.pid("baserunner");
    assert!(pid.is_some());
    device.post_target(&Version::new(V2, "2", "onebox:2").local_target("lab"));
    runs(&device, V2).await;
    assert_eq!(device.pid("baserunner"), pid, "renamed, not restarted");

    device.post_target(
        &Version::new("c3c3c3c3", "3", "onebox:2")
            .with_agent("baserunner:2")
            .local_target("lab"),
    );
    runs(&device, "c3c3c3c3").await;
    says(&device, 2, "hello").await;
    says(&device, 1, "goodbye").await;
    assert_ne!(device.pid("baserunner"), pid);
}

#[tokio::test]
async fn the_engine_starts_a_killed_agent_again_and_restart_service_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    says(&device, 1, "hello").await;
    device.kill("baserunner");
    says(&device, 2, "hello").await;
    let answer = ask(
        &device,
        "POST",
        "/v2/applications/1/restart-service",
        Some(r#"{"serviceName":"baserunner"}"#),
    );
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    says(&device, 3, "hello").await;
}

#[tokio::test]
async fn a_lock_file_holds_an_update_back_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    device.lock(1, "onebox").unwrap();
    device.post_target(&Version::new(V2, "2", "onebox:2").local_target("lab"));
    sleep(Duration::from_millis(400)).await;
    let answer = ask(&device, "GET", "/v1/device", None).await.unwrap();
    assert!(answer.body.contains(r#""update_failed":true"#), "{}", answer.body);
    let answer = ask(&device, "POST", "/v2/applications/1/restart", Some("{}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 423);
    assert_eq!(
        answer.body,
        r#"{"status":"failed","message":"Lockfile exists for { appId: 1, service: onebox }"}"#
    );
    device.unlock(1, "onebox");
    runs(&device, V2).await;
    let left: Vec<_> = std::fs::read_dir(device.lock_dir(1, "onebox")).unwrap().collect();
    assert!(
        left.is_empty(),
        "the Supervisor took its own locks away: {left:?}"
    );
}

#[tokio::test]
async fn a_reboot_answers_closes_the_port_and_starts_the_same_containers_again() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    says(&device, 1, "hello").await;
    let boot_id = std::fs::read_to_string(device.dir().join("boot_id")).unwrap();
    let id = device.model(|model, _| model.container("onebox").unwrap().id.clone());
    let answer = ask(&device, "POST", "/v1/reboot", Some("{}")).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (202, r#"{"Data":"OK","Error":null}"#)
    );
    let refused = async || match ask(&device, "GET", "/ping", None).await {
        Ok(answer) => Err(answer.body),
        Err(_) => Ok(()),
    };
    wait_until("the port is closed", SOON, refused).await.unwrap();
    let back = async || {
        ask(&device, "GET", "/ping", None)
            .await
            .map_err(|error| error.to_string())
    };
    wait_until("the port is open", SOON, back).await.unwrap();
    runs(&device, V1).await;
    says(&device, 2, "hello").await;
    assert_eq!(
        device.model(|model, _| model.container("onebox").unwrap().id.clone()),
        id
    );
    assert_ne!(
        std::fs::read_to_string(device.dir().join("boot_id")).unwrap(),
        boot_id
    );
}

#[tokio::test]
async fn a_crashed_supervisor_is_gone_until_it_is_restarted_and_keeps_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    let crash = r#"{"local":{"apps":{"base":{"name":"x","services":{}}}}}"#;
    assert!(
        ask(&device, "POST", "/v2/local/target-state", Some(crash))
            .await
            .is_err(),
        "no answer"
    );
    sleep(Duration::from_millis(100)).await;
    assert!(ask(&device, "GET", "/ping", None).await.is_err(), "refused");
    device.delete_container("onebox");
    device.restart_supervisor();
    let both = async || {
        let status = device.status();
        let count = status
            .get("containers")
            .map_or(0, |containers| containers.items().len());
        if count == 2 { Ok(()) } else { Err(status.to_text()) }
    };
    wait_until("the deleted container is made anew", SOON, both)
        .await
        .unwrap();
}

#[tokio::test]
async fn faults_befall_the_requests_they_are_meant_for_and_the_log_says_what_had_effect() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    let path = "/v2/local/target-state";
    let body = Version::new(V2, "2", "onebox:2").local_target("lab").to_text();

    device.fault(Fault::on(path, FaultKind::Status { code: 503 }).times(1));
    assert_eq!(ask(&device, "POST", path, Some(&body)).await.unwrap().status, 503);
    device.fault(Fault::on(path, FaultKind::Dropped).times(1));
    assert!(ask(&device, "POST", path, Some(&body)).await.is_err());
    assert_eq!(device.count("POST", path), 0, "neither had an effect");
    device.fault(Fault::on(path, FaultKind::DroppedAfter).times(1));
    assert!(ask(&device, "POST", path, Some(&body)).await.is_err());
    assert_eq!(device.count("POST", path), 1, "this one had");
    runs(&device, V2).await;

    device.fault(Fault::on("/v1/*", FaultKind::Unauthorized).times(1));
    assert_eq!(ask(&device, "GET", "/v1/device", None).await.unwrap().status, 401);
    device.fault(Fault::on("/v2/version", FaultKind::Truncated).times(1));
    assert!(ask(&device, "GET", "/v2/version", None).await.is_err());
    device.fault(Fault::on("/v2/version", FaultKind::Garbage).times(1));
    let garbage = ask(&device, "GET", "/v2/version", None).await.unwrap();
    assert!(Json::parse(garbage.body.as_bytes()).is_err());
    device.fault(Fault::on("/v2/version", FaultKind::GzipBomb).times(1));
    assert!(ask(&device, "GET", "/v2/version", None).await.unwrap().body.len() > 100_000);
    for kind in [FaultKind::Hang, FaultKind::EndlessBody] {
        device.fault(Fault::on("/v2/version", kind).times(1));
        let impatient = tokio::time::timeout(
            Duration::from_millis(300),
            ask(&device, "GET", "/v2/version", None),
        );
        assert!(impatient.await.is_err(), "{kind:?} does not end");
    }
    device.set_down(true);
    sleep(Duration::from_millis(50)).await;
    assert!(ask(&device, "GET", "/ping", None).await.is_err());
    device.clear_faults();
    let back = async || {
        ask(&device, "GET", "/v2/version", None)
            .await
            .map_err(|error| error.to_string())
    };
    let version = wait_until("it answers again", SOON, back).await.unwrap();
    assert_eq!(version.body, r#"{"status":"success","version":"19.0.5"}"#);
}

#[tokio::test]
async fn a_managed_supervisor_wants_a_key_and_takes_its_target_from_its_backend() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(&dir, true).await;
    assert_eq!(ask(&device, "GET", "/v1/device", None).await.unwrap().status, 401);
    let target = r#"{"name":"lab","config":{},"apps":{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{"id":1,"name":"baseos",
        "releases":{"a1a1a1a1":{"id":1,"services":{"onebox":{"id":2,"image_id":2,"image":"onebox:1","environment":{},
        "labels":{}}}}}}}}"#;
    device
        .set_backend_target(&Json::parse(target.as_bytes()).unwrap())
        .unwrap();
    let address = Address::parse(&device.supervisor_url()).unwrap();
    let key = Config::default().api_key;
    let answer = call(&address, "POST", &format!("/v1/update?apikey={key}"), None, None)
        .await
        .unwrap();
    assert_eq!(answer.status, 204);
    runs(&device, V1).await;
    let log = device.requests();
    assert!(
        log.iter().all(|logged| !logged.path.contains(&key)),
        "no key in the log"
    );
}

#[tokio::test]
async fn the_control_surface_does_the_same_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    let control = Address::parse(&device.control_url()).unwrap();
    let send = async |method: &str, path: &str, body: &str| {
        call(&control, method, path, None, Some(body.to_owned()))
            .await
            .unwrap()
    };
    let fault = r#"{"path":"/v2/version","count":1,"kind":{"status":{"code":500}}}"#;
    assert_eq!(send("POST", "/sim/faults", fault).await.status, 200);
    assert_eq!(
        ask(&device, "GET", "/v2/version", None).await.unwrap().status,
        500
    );
    assert!(
        send("GET", "/sim/requests", "")
            .await
            .body
            .contains("/v2/version")
    );
    assert_eq!(send("POST", "/sim/container/onebox/stop", "").await.status, 200);
    let stopped = async || {
        let state = send("GET", "/sim/state", "").await.body;
        if state.contains("exited") {
            Ok(())
        } else {
            Err(state)
        }
    };
    wait_until("onebox is stopped", SOON, stopped).await.unwrap();
    assert_eq!(send("POST", "/sim/nonsense", "").await.status, 404);
}

#[tokio::test]
async fn nothing_is_left_running_when_a_device_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let device = running(&dir).await;
    says(&device, 1, "hello").await;
    let pid = device.pid("baserunner").unwrap();
    drop(device);
    let gone = async || {
        // A child that has ended but was not waited for yet still has a directory; its command line is empty.
        match std::fs::read(format!("/proc/{pid}/cmdline")) {
            Ok(line) if !line.is_empty() => Err("it runs".to_owned()),
            _ => Ok(()),
        }
    };
    wait_until("the process is gone", SOON, gone).await.unwrap();
}
