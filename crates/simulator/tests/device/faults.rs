//! Scripted faults.

use crate::fixture::{Fixture, LIMIT, V2};
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{TestRelease, wait_until};
use baseos_simulator::json::Json;
use std::time::Duration;

const TARGET: &str = "/v2/local/target-state";
const VERSION: &str = "/v2/version";

impl Fixture {
    fn add_fault_once(&self, path: &str, kind: FaultKind) {
        self.device.add_fault(Fault::on(path, kind).times(1));
    }
}

#[tokio::test]
async fn the_request_log_shows_which_requests_reached_the_supervisor() {
    let fixture = Fixture::running().await;
    let target = TestRelease::new(V2, "2", "onebox:2")
        .local_target("device")
        .to_text();
    let post = async || fixture.call("POST", TARGET, Some(&target)).await;

    fixture.add_fault_once(TARGET, FaultKind::Status { code: 503 });
    assert_eq!(post().await.unwrap().status, 503);
    fixture.add_fault_once(TARGET, FaultKind::Dropped);
    assert!(post().await.is_err());
    assert_eq!(fixture.device.count_requests("POST", TARGET), 0);
    fixture.add_fault_once(TARGET, FaultKind::DroppedAfter);
    assert!(post().await.is_err());
    assert_eq!(fixture.device.count_requests("POST", TARGET), 1);
    fixture.wait_runs(V2).await;
}

#[tokio::test]
async fn each_fault_changes_the_answer_as_described() {
    let fixture = Fixture::running().await;
    let version = async || fixture.call("GET", VERSION, None).await;
    fixture.add_fault_once("/v2/*", FaultKind::Unauthorized);
    assert_eq!(version().await.unwrap().status, 401);
    fixture.add_fault_once(VERSION, FaultKind::Truncated);
    assert!(version().await.is_err());
    fixture.add_fault_once(VERSION, FaultKind::Garbage);
    assert!(Json::parse(version().await.unwrap().body.as_bytes()).is_err());
    fixture.add_fault_once(VERSION, FaultKind::GzipBomb);
    assert!(version().await.unwrap().body.len() > 100_000);
    for kind in [FaultKind::Hang, FaultKind::EndlessBody] {
        fixture.add_fault_once(VERSION, kind);
        let answer = tokio::time::timeout(Duration::from_millis(300), version()).await;
        assert!(answer.is_err(), "{kind:?} ends");
    }
}

#[tokio::test]
async fn a_closed_port_is_open_again_after_the_faults_are_cleared() {
    let fixture = Fixture::running().await;
    fixture.device.set_port_closed(true);
    fixture.wait_port_closed().await;
    fixture.device.clear_faults();
    let version = wait_until("it answers again", LIMIT, async || {
        let answer = fixture.call("GET", VERSION, None).await;
        answer.map_err(|error| error.to_string())
    });
    let expected = r#"{"status":"success","version":"19.0.5"}"#;
    assert_eq!(version.await.unwrap().body, expected);
}
