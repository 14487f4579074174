//! Faults of the network and the Supervisor, the redaction of the key, and invalid settings.

use super::*;
use crate::adapters::fake::Log;
use crate::adapters::supervisor::request::Request;
use crate::adapters::supervisor::settings::ConfigError;
use crate::lifecycle::facts::SupervisorErrorKind as Kind;
use std::io::{Read as _, Write as _};
use std::pin::pin;

/// The error of an inspection of a Supervisor that answers so.
async fn inspection_error(reply: impl Fn() -> Reply + Send + Sync + 'static) -> SupervisorError {
    let fake = Fake::start(move |_| reply()).await;
    call(client(fake.address), SupervisorCall::Inspect)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn each_fault_becomes_an_error_of_its_kind_within_the_timeout() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let short = format!("{head}content-length: 999\r\n\r\n{{");
    let large = format!("{head}content-length: 100000000\r\n\r\n");
    let deep = json("200 OK", format!(r#"{{"x":{}"#, "[".repeat(200_000)));
    let (stalled, slow) = (short.clone(), short.clone());
    for (name, error, kind) in [
        (
            "silence",
            inspection_error(|| Reply::Silence).await,
            Kind::Unavailable,
        ),
        (
            "cut",
            inspection_error(move || Reply::Cut(short.clone().into())).await,
            Kind::Unavailable,
        ),
        (
            "stalled",
            inspection_error(move || Reply::Drip(stalled.clone().into(), Duration::from_secs(9))).await,
            Kind::Unavailable,
        ),
        (
            "slow",
            inspection_error(move || Reply::Drip(slow.clone().into(), Duration::from_millis(20))).await,
            Kind::Unavailable,
        ),
        (
            "large",
            inspection_error(move || Reply::Endless(large.clone().into(), vec![b' '; 1 << 16])).await,
            Kind::Garbage,
        ),
        (
            "deep",
            inspection_error(move || Reply::Bytes(deep.clone())).await,
            Kind::Garbage,
        ),
        (
            "text",
            inspection_error(|| Reply::Bytes(http("200 OK", &[], "OK"))).await,
            Kind::Garbage,
        ),
    ] {
        assert_eq!(error.kind, kind, "{name}: {error:?}");
        assert!(error.message.starts_with("GET /v1/device: "), "{name}: {error:?}");
    }
    for address in [Fake::nobody().await, Fake::resetting().await] {
        let error = call(client(address), SupervisorCall::Reboot).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{error:?}");
    }
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let fake = Fake::start(move |_| Reply::Drip(endless.into(), Duration::from_millis(20))).await;
    let error = call(client(fake.address), SupervisorCall::CollectLogs { lines: 5 })
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "{error:?}");
}

/// The library passes over interim answers (1xx), however many come.
#[tokio::test]
async fn endless_interim_answers_end_in_an_error_and_with_their_connections() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Its own thread writes as fast as the client reads.
    let server = std::thread::spawn(move || {
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        for connection in listener.incoming().take(3) {
            let mut connection = connection.unwrap();
            connection.read_exact(&mut [0]).unwrap();
            while connection.write_all(&interim).is_ok() {}
        }
    });
    let short = Duration::from_millis(50);
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        call: short,
        work: short,
    };
    let client =
        SupervisorClient::with_timeouts(Some(settings(&format!("http://{address}"))), timeouts).unwrap();
    let log = client.open(Request::get("/v2/local/logs"));
    for error in [
        call(client.clone(), SupervisorCall::Inspect).await.unwrap_err(),
        call(client.clone(), SupervisorCall::Reboot).await.unwrap_err(),
        log.await.err().unwrap(),
    ] {
        assert_eq!(error.kind, Kind::Unavailable, "{error:?}");
        assert!(error.message.ends_with("no answer in time"), "{error:?}");
    }
    let ended = tokio::task::spawn_blocking(move || server.join());
    let ended = tokio::time::timeout(Duration::from_secs(30), ended);
    ended.await.expect("each connection is closed").unwrap().unwrap();
}

#[tokio::test]
async fn no_event_error_or_log_line_contains_the_key() {
    let log = Log::capture();
    let mut output = String::new();
    let echo = format!("Cannot GET /v1/device?apikey={KEY} with {KEY}");
    for status in [
        "200 OK",
        "400 Bad Request",
        "401 Unauthorized",
        "500 Oh",
        "302 Found",
    ] {
        for body in [
            echo.clone(),
            format!(r#"{{"message":"{echo}"}}"#),
            format!("[\"{echo}\"]"),
        ] {
            let answer = http(status, &[("location", &format!("/?apikey={KEY}"))], body);
            let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
            let client = client(fake.address);
            for supervisor_call in [
                SupervisorCall::Inspect,
                SupervisorCall::Reboot,
                SupervisorCall::CollectLogs { lines: 1 },
            ] {
                output.push_str(&format!("{:?}\n", call(client.clone(), supervisor_call).await));
            }
            let (_rate_sender, rate) = watch::channel(PollRate::Slow);
            let event = pin!(poll(client, PollIntervals::default(), rate)).next().await;
            output.push_str(&format!("{event:?}\n"));
        }
    }
    for address in [
        Fake::nobody().await,
        Fake::resetting().await,
        Fake::start(|_| Reply::Silence).await.address,
    ] {
        output.push_str(&format!(
            "{:?}\n",
            call(client(address), SupervisorCall::Reboot).await
        ));
    }
    output.push_str(&format!("{:?}", settings("http://127.0.0.1:1")));
    output.push_str(&log.text());
    assert!(
        output.contains("hyper_util::client"),
        "the HTTP library's trace is captured"
    );
    for part in [KEY, &KEY[..16], &KEY[16..]] {
        assert!(!output.contains(part), "{part} in {output}");
    }
}

#[test]
fn refuses_an_address_that_is_not_http_host_and_port() {
    let error = |address: &str| SupervisorClient::new(Some(settings(address))).err();
    assert_eq!(error("http://127.0.0.1:48484/"), None);
    assert_eq!(error(" http://[fd00::1]:48484"), None);
    for extra in [
        "https://h:1",
        "http://u:p@h:1",
        "http://h:1/v1",
        "http://h:1?x",
        "http://h:1#x",
        "unix:/x",
    ] {
        assert_eq!(error(extra), Some(ConfigError::Extra), "{extra}");
    }
    assert!(matches!(error("127.0.0.1"), Some(ConfigError::Address(_))));
}
