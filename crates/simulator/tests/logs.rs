//! The Supervisor's log, as a client of its API hears it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use baseos_simulator::device::{Device, DeviceConfig, Fault, FaultKind};
use baseos_simulator::harness::{Version, wait_until};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Behaviour, Config, Image, Registry, Timing};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(10);
const PATH: &str = "/v2/local/logs";

async fn device() -> Device {
    let crash = Behaviour::Exits {
        after_millis: 50,
        code: 1,
    };
    let config = DeviceConfig {
        supervisor: Config {
            timing: Timing::fast(),
            ..Config::default()
        },
        registry: Registry::default()
            .with("baserunner:1", Image::new(Behaviour::Runs, 50))
            .with("onebox:1", Image::new(Behaviour::Runs, 50))
            .with("onebox:crashes", Image::new(crash, 50)),
        ..DeviceConfig::default()
    };
    Device::start(config).await.unwrap()
}

struct Listener(BufReader<TcpStream>);

impl Listener {
    async fn attach(device: &Device) -> Self {
        let address = device.supervisor_url();
        let mut stream = TcpStream::connect(address.trim_start_matches("http://"))
            .await
            .unwrap();
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: device\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line that is JSON; the rest is HTTP's. `None`: the end.
    async fn next(&mut self) -> Option<Json> {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(SOON, self.0.read_line(&mut line))
                .await
                .unwrap();
            if read.unwrap_or(0) == 0 {
                return None;
            }
            if line.starts_with('{') {
                return Json::parse(line.trim_end().as_bytes()).ok();
            }
        }
    }

    /// What the Supervisor says of Onebox, without the object, until it has said this so often.
    async fn of_onebox(&mut self, last: &str, times: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        while all.iter().filter(|what| *what == last).count() < times {
            let line = self.next().await.unwrap();
            let message = line.get("message").and_then(Json::as_str).unwrap();
            if let Some((what, object)) = message.split_once(" '")
                && object.starts_with("onebox sha256:")
            {
                assert!(line.get("isSystem").is_some_and(Json::is_true), "{line}");
                all.push(what.to_owned());
            }
        }
        all
    }
}

#[tokio::test]
async fn an_update_and_a_crash_loop_are_heard_in_the_recorded_words() {
    let device = device().await;
    device.post_target(&Version::new("a1a1a1a1", "1", "onebox:1").local_target("lab"));
    wait_until("it runs", SOON, async || {
        device
            .runs("a1a1a1a1")
            .then_some(())
            .ok_or_else(|| device.status().to_text())
    })
    .await
    .unwrap();
    let mut log = Listener::attach(&device).await;
    let first = log.next().await.unwrap();
    assert_eq!(
        first.get("message").and_then(Json::as_str),
        Some("Streaming logs")
    );
    device.post_target(&Version::new("b2b2b2b2", "2", "onebox:crashes").local_target("lab"));
    let heard = log.of_onebox("Restarting service", 2).await;
    assert_eq!(
        heard,
        [
            "Killing service",
            "Service exited",
            "Killed service",
            "Installing service",
            "Installed service",
            "Starting service",
            "Started service",
            "Service exited",
            "Restarting service",
            "Service exited",
            "Restarting service",
        ]
    );
    let running = device.status();
    assert!(
        !running.to_text().contains("exited"),
        "the state shows none of it: {running}"
    );
    device.restart_supervisor();
    while log.next().await.is_some() {}
}

#[tokio::test]
async fn faults_befall_the_log_too() {
    let device = device().await;
    device.fault(Fault::on(PATH, FaultKind::Status { code: 404 }).times(1));
    device.fault(Fault::on(PATH, FaultKind::Dropped).times(1));
    device.fault(Fault::on(PATH, FaultKind::Truncated).times(1));
    for fault in ["404", "dropped", "truncated"] {
        let mut log = Listener::attach(&device).await;
        let line = log.next().await;
        let whole =
            line.is_some_and(|line| line.get("message").and_then(Json::as_str) == Some("Streaming logs"));
        assert!(!whole, "{fault}");
    }
    let mut log = Listener::attach(&device).await;
    assert!(log.next().await.is_some());
}
