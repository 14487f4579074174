//! A Supervisor that does not behave, and a key that is never shown.

use super::super::poll::{PollIntervals, poll};
use super::super::settings::ConfigError;
use super::*;
use crate::adapters::fake::Log;
use crate::lifecycle::facts::SupervisorErrorKind as Kind;
use futures_util::StreamExt as _;
use std::pin::pin;

async fn inspected(reply: impl Fn() -> Reply + Send + Sync + 'static) -> SupervisorError {
    let fake = Fake::start(move |_| reply()).await;
    call(client(fake.address), SupervisorCall::Inspect)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn faults_become_errors_in_time() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let short = format!("{head}content-length: 999\r\n\r\n{{");
    let large = format!("{head}content-length: 100000000\r\n\r\n");
    let deep = json("200 OK", format!(r#"{{"x":{}"#, "[".repeat(200_000)));
    let (stalled, slow) = (short.clone(), short.clone());
    for (name, error, kind) in [
        ("silence", inspected(|| Reply::Silence).await, Kind::Unavailable),
        (
            "cut",
            inspected(move || Reply::Cut(short.clone().into())).await,
            Kind::Unavailable,
        ),
        (
            "stalled",
            inspected(move || Reply::Drip(stalled.clone().into(), Duration::from_secs(9))).await,
            Kind::Unavailable,
        ),
        (
            "slow",
            inspected(move || Reply::Drip(slow.clone().into(), Duration::from_millis(20))).await,
            Kind::Unavailable,
        ),
        (
            "large",
            inspected(move || Reply::Endless(large.clone().into(), vec![b' '; 1 << 16])).await,
            Kind::Garbage,
        ),
        (
            "deep",
            inspected(move || Reply::Bytes(deep.clone())).await,
            Kind::Garbage,
        ),
        (
            "text",
            inspected(|| Reply::Bytes(http("200 OK", &[], "OK"))).await,
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

#[tokio::test]
async fn the_key_is_never_shown() {
    let log = Log::capture();
    let mut shown = String::new();
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
            for made in [
                SupervisorCall::Inspect,
                SupervisorCall::Reboot,
                SupervisorCall::CollectLogs { lines: 1 },
            ] {
                shown.push_str(&format!("{:?}\n", call(client.clone(), made).await));
            }
            let (_set, rate) = watch::channel(PollRate::Slow);
            let event = pin!(poll(client, PollIntervals::default(), rate)).next().await;
            shown.push_str(&format!("{event:?}\n"));
        }
    }
    for address in [
        Fake::nobody().await,
        Fake::resetting().await,
        Fake::start(|_| Reply::Silence).await.address,
    ] {
        shown.push_str(&format!(
            "{:?}\n",
            call(client(address), SupervisorCall::Reboot).await
        ));
    }
    let settings = SupervisorSettings {
        address: "http://127.0.0.1:1".to_owned(),
        api_key: KEY.to_owned().into(),
    };
    shown.push_str(&format!("{settings:?}"));
    shown.push_str(&log.text());
    assert!(
        shown.contains("starting new connection"),
        "the library's own log is captured"
    );
    for part in [KEY, &KEY[..16], &KEY[16..]] {
        assert!(!shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn an_address_is_a_host_and_a_port() {
    let refused = |address: &str| {
        let settings = SupervisorSettings {
            address: address.to_owned(),
            api_key: KEY.to_owned().into(),
        };
        SupervisorClient::new(Some(settings)).err()
    };
    assert_eq!(refused("http://127.0.0.1:48484/"), None);
    assert_eq!(refused(" http://[fd00::1]:48484"), None);
    for extra in [
        "https://h:1",
        "http://u:p@h:1",
        "http://h:1/v1",
        "http://h:1?x",
        "http://h:1#x",
        "unix:/x",
    ] {
        assert_eq!(refused(extra), Some(ConfigError::Extra), "{extra}");
    }
    assert!(matches!(refused("127.0.0.1"), Some(ConfigError::Address(_))));
}
