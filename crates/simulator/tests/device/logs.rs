//! The Supervisor's log, as a client of its API receives it.

use crate::fixture::{Fixture, LIMIT, V1, V2};
use baseos_simulator::device::{Device, Fault, FaultKind, LogListeners};
use baseos_simulator::harness::{TestRelease, ensure, wait_until};
use baseos_simulator::json::Json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const PATH: &str = "/v2/local/logs";
const FIRST_MESSAGE: &str = "Streaming logs";

pub(crate) struct LogStream(BufReader<TcpStream>);

impl LogStream {
    pub(crate) async fn open(device: &Device) -> Self {
        let address = device.supervisor_url();
        let mut stream = TcpStream::connect(address.trim_start_matches("http://"))
            .await
            .unwrap();
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: device\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line that is JSON; other lines are HTTP's. `None`: the end.
    async fn next(&mut self) -> Option<Json> {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(LIMIT, self.0.read_line(&mut line))
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

    /// Waits until the Supervisor closes the connection.
    pub(crate) async fn wait_end(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The Supervisor's messages about Onebox, without the object, until `last` has come so often.
    async fn onebox_messages(&mut self, last: &str, times: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        while all.iter().filter(|what| *what == last).count() < times {
            let line = self.next().await.unwrap();
            let message = message(&line).unwrap();
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

fn message(line: &Json) -> Option<&str> {
    line.get("message").and_then(Json::as_str)
}

#[tokio::test]
async fn an_update_and_a_crash_loop_are_logged_with_the_observed_messages() {
    let fixture = Fixture::start().await;
    let device = &fixture.device;
    fixture.post(&TestRelease::new(V1, "1", "onebox:1"));
    fixture.wait_runs(V1).await;
    let mut log = LogStream::open(device).await;
    let first = log.next().await.unwrap();
    assert_eq!(message(&first), Some(FIRST_MESSAGE));
    fixture.post(&TestRelease::new(V2, "2", "onebox:crashes"));
    let messages = log.onebox_messages("Restarting service", 2).await;
    assert_eq!(
        messages,
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
    let status = device.status().to_text();
    assert!(
        !status.contains("exited"),
        "the state shows the crash loop: {status}"
    );
    device.restart_supervisor();
    log.wait_end().await;
}

#[tokio::test]
async fn faults_apply_to_the_log_too() {
    let fixture = Fixture::start().await;
    let device = &fixture.device;
    for kind in [
        FaultKind::Status { code: 404 },
        FaultKind::Dropped,
        FaultKind::Truncated,
    ] {
        device.add_fault(Fault::on(PATH, kind).times(1));
        let line = LogStream::open(device).await.next().await;
        let whole = line.as_ref().and_then(message) == Some(FIRST_MESSAGE);
        assert!(!whole, "{kind:?}");
    }
    let mut log = LogStream::open(device).await;
    assert!(log.next().await.is_some());
}

#[tokio::test]
async fn log_listeners_that_went_away_are_counted() {
    let fixture = Fixture::start().await;
    let device = &fixture.device;
    let counted = |opened, open, abandoned| LogListeners {
        opened,
        open,
        abandoned,
    };
    let mut kept = LogStream::open(device).await;
    assert!(kept.next().await.is_some());
    let mut left = LogStream::open(device).await;
    assert!(left.next().await.is_some());
    assert_eq!(device.log_listeners(), counted(2, 2, 0));
    drop(left);
    let look = async || {
        ensure(device.log_listeners() == counted(2, 1, 1), || {
            format!("{:?}", device.log_listeners())
        })
    };
    wait_until("the abandoned listener is seen", LIMIT, look)
        .await
        .unwrap();
    device.close_log_streams();
    kept.wait_end().await;
    assert_eq!(device.log_listeners(), counted(2, 0, 1));
}

/// In the order of the members that was recorded (S4-local-logs).
#[tokio::test]
async fn a_line_of_a_container_names_its_service_first() {
    let fixture = Fixture::running().await;
    let mut log = LogStream::open(&fixture.device).await;
    assert!(log.next().await.is_some());
    fixture.device.write_log_line("baserunner", "alive");
    let line = log.next().await.unwrap().to_text();
    assert!(
        line.starts_with(r#"{"serviceName":"baserunner","message":"#),
        "{line}"
    );
}
