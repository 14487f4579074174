//! The facts found in the Supervisor's log, and the one stream that they come from.

use super::*;
use crate::adapters::fake::Log;
use crate::adapters::supervisor::log_stream::{LogPauses, log_events_with};
use crate::lifecycle::progress::fact::{LogFact, PullFailure};
use futures_util::FutureExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PAUSES: LogPauses = LogPauses {
    first_retry: Duration::from_millis(5),
    longest_retry: Duration::from_millis(20),
    between_reads: Duration::from_millis(1),
};
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
const IMAGE: &str = "sha256:97986a099b36a09055b41fd89ed9983e11f6cbdbf8798a8c61ac4b7631b304f3";

/// A line of the Supervisor itself.
fn system(message: &str) -> String {
    let message = serde_json::Value::from(message);
    format!("{{\"message\":{message},\"isSystem\":true,\"timestamp\":1795388532935}}\n")
}

fn exited(service: &str) -> String {
    system(&format!("Service exited '{service} {IMAGE}'"))
}

fn exit(service: &str) -> Event {
    Event::ServiceExited {
        service: service.to_owned(),
    }
}

/// The events found in a log.
async fn events_in(log: String) -> Vec<Event> {
    let answer = format!("{HEAD}{log}");
    let fake = Fake::start(move |_| Reply::Cut(answer.clone().into())).await;
    let mut stream = pin!(log_events_with(client(fake.address), PAUSES));
    assert_eq!(
        stream.next().await,
        Some(Event::SupervisorLogged(LogFact::Opened))
    );
    let mut all = Vec::new();
    loop {
        match stream.next().await.unwrap() {
            Event::SupervisorLogged(LogFact::Lost) => break,
            event => all.push(event),
        }
    }
    assert!(fake.seen()[0].path().starts_with("/v2/local/logs?apikey="));
    all
}

async fn facts_in(log: &str) -> Vec<LogFact> {
    let facts = events_in(log.to_owned()).await.into_iter();
    facts
        .filter_map(|event| match event {
            Event::SupervisorLogged(fact) => Some(fact),
            _ => None,
        })
        .collect()
}

async fn exits_in(log: String) -> Vec<String> {
    let events = events_in(log).await.into_iter();
    events
        .filter_map(|event| match event {
            Event::ServiceExited { service } => Some(service),
            _ => None,
        })
        .collect()
}

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!(
            "../../../../crates/simulator/recordings/",
            $name,
            ".jsonl"
        ))
    };
}

#[tokio::test]
async fn a_recorded_missing_image_is_told_from_a_registry_that_is_away() {
    let failures = |facts: Vec<LogFact>| -> Vec<(String, PullFailure)> {
        let failed = |fact| match fact {
            LogFact::PullFailed { image, failure, .. } => Some((image, failure)),
            _ => None,
        };
        facts.into_iter().filter_map(failed).collect()
    };
    let facts = facts_in(recording!("e3-log-missing-image")).await;
    let image = "127.0.0.1:5001/gb:nosuch".to_owned();
    assert_eq!(facts[0], LogFact::PullBegan { image: image.clone() });
    assert_eq!(failures(facts), [(image, PullFailure::NotFound)]);
    let by_digest = failures(facts_in(recording!("s4-log-missing-image")).await);
    assert!(by_digest[0].0.starts_with("127.0.0.1:5001/nosuch@sha256:0000"));
    assert_eq!(by_digest[0].1, PullFailure::NotFound);
    let away = failures(facts_in(recording!("e3-log-registry-away")).await);
    assert_eq!(away.len(), 4);
    assert!(
        away.iter()
            .all(|(_, failure)| *failure == PullFailure::RegistryAway)
    );
    let full = failures(facts_in(recording!("e3-log-disk-full")).await);
    assert_eq!(full.len(), 4);
    assert!(full.iter().all(|(_, failure)| *failure == PullFailure::DiskFull));
}

#[tokio::test]
async fn a_recorded_lock_says_whose_it_is_and_when_it_is_tried_again() {
    let facts = facts_in(recording!("s3c-log-lock-after-pull")).await;
    let image =
        "127.0.0.1:5001/onebox-u4@sha256:36a7a428909c49a42828dfad681704bd3af6928f2c3c195819ddce0ced789ce9";
    let locked = |seconds: u64| LogFact::Locked {
        service: Some("onebox".to_owned()),
        retry_millis: seconds * 1000,
    };
    let mut expected = vec![
        LogFact::PullBegan {
            image: image.to_owned(),
        },
        LogFact::PullDone {
            image: image.to_owned(),
        },
    ];
    expected.extend([1, 2, 4, 8, 16, 32].map(locked));
    assert_eq!(facts, expected);
}

#[tokio::test]
async fn a_recorded_start_that_fails_is_begun_again_and_again() {
    let facts = facts_in(recording!("e3-log-start-fails")).await;
    let service = || "baserunner".to_owned();
    let starting = LogFact::Starting { service: service() };
    assert_eq!(facts[2], LogFact::Stopping { service: service() });
    assert_eq!(facts[3..], [starting.clone(), starting.clone(), starting]);
}

#[tokio::test]
async fn each_exit_of_a_recorded_crash_loop_is_reported_and_not_the_stop_before() {
    let exits = exits_in(recording!("e3-log-crash-loop").to_owned()).await;
    assert_eq!(exits, ["baserunner", "baserunner", "baserunner"]);
}

#[tokio::test]
async fn an_exit_caused_by_the_supervisor_is_not_reported() {
    let about = |what: &str| system(&format!("{what} service 'main {IMAGE}'"));
    let stopped = [about("Killing"), exited("main"), about("Killed"), exited("other")].concat();
    assert_eq!(exits_in(stopped.clone()).await, ["other"]);
    let log = [stopped, about("Starting"), about("Started"), exited("main")].concat();
    assert_eq!(exits_in(log).await, ["other", "main"]);
}

#[tokio::test]
async fn lines_of_containers_and_invalid_lines_are_ignored() {
    let container = exited("main").replace("true", "false");
    let no_flag = format!("{{\"message\":\"Service exited 'main {IMAGE}'\",\"serviceId\":1}}\n");
    let quoted = format!(
        "{{\"serviceName\":\"main\",\"message\":{}}}\n",
        serde_json::Value::from(exited("main").trim())
    );
    let long = format!("{{\"message\":\"{}\",\"isSystem\":true}}\n", "x".repeat(100_000));
    let invalid = "\n}{\n\u{0}\n[1]\n{\"message\":7,\"isSystem\":true}\nService exited 'main x'\n".to_owned();
    let odd = [
        "Updates are locked, retrying in s. Reason: x",
        "Updates are locked, retrying in NaNs. Reason: ",
        "Failed to download image 'x'",
        "Downloading image 'x",
        "'",
        "",
    ]
    .map(system)
    .concat();
    let log = [container, no_flag, quoted, long, invalid, odd, exited("onebox")].concat();
    let locked = LogFact::Locked {
        service: None,
        retry_millis: 0,
    };
    assert_eq!(
        events_in(log).await,
        [Event::SupervisorLogged(locked), exit("onebox")]
    );
}

#[tokio::test]
async fn texts_of_the_log_are_short_and_without_secrets() {
    let words = format!(
        "(HTTP code 500) Get \"http://u:p@r.example/?apikey={KEY}\": {}",
        "x".repeat(2000)
    );
    let failed = system(&format!(
        "Failed to download image 'r.example/{KEY}:1' due to '{words}'"
    ));
    let facts = facts_in(&failed).await;
    let [LogFact::PullFailed { image, message, .. }] = facts.as_slice() else {
        panic!("{facts:?}");
    };
    assert!(!format!("{image}{message}").contains(KEY), "{image} {message}");
    assert!(message.chars().count() <= 201, "{message}");
}

#[tokio::test]
async fn the_log_is_opened_again_after_each_kind_of_end_and_error() {
    let count = Arc::new(AtomicUsize::new(0));
    let log = Log::capture();
    let counted = count.clone();
    let fake = Fake::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Bytes(http("401 Unauthorized", &[], "Unauthorized")),
        1 => Reply::Bytes(http("404 Not Found", &[], KEY)),
        2 => Reply::Cut(Vec::new()),
        3 => Reply::Endless(HEAD.into(), vec![b'x'; 1 << 16]),
        4 => Reply::Cut(format!("{HEAD}{}", exited("first")).into()),
        _ => Reply::Bytes(format!("{HEAD}{}", exited("second")).into()),
    })
    .await;
    let mut stream = pin!(log_events_with(client(fake.address), PAUSES));
    let (opened, lost) = (
        Event::SupervisorLogged(LogFact::Opened),
        Event::SupervisorLogged(LogFact::Lost),
    );
    for expected in [
        opened.clone(),
        lost.clone(),
        opened.clone(),
        exit("first"),
        lost,
        opened,
        exit("second"),
    ] {
        assert_eq!(stream.next().await, Some(expected));
    }
    assert_eq!(count.load(Ordering::SeqCst), 6);
    let text = log.text();
    assert!(!text.contains(KEY) && !text.contains(IMAGE), "{text}");
}

#[test]
fn the_pauses_between_attempts_double_up_to_the_longest() {
    let pauses = LogPauses::default();
    let seconds = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| pauses.retry(failures).as_secs());
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
}

/// However much containers write, the stream is one, and what matters comes through.
#[tokio::test]
async fn a_flood_of_container_lines_is_read_on_one_connection() {
    let line = format!(
        "{{\"serviceName\":\"onebox\",\"message\":\"{}\",\"isStdErr\":false,\"timestamp\":1,\"serviceId\":1}}\n",
        "y".repeat(150)
    );
    let flood = line.repeat(20_000);
    let answer = format!("{HEAD}{flood}{}", exited("onebox"));
    let fake = Fake::start(move |_| Reply::Bytes(answer.clone().into())).await;
    let mut stream = pin!(log_events_with(client(fake.address), PAUSES));
    assert_eq!(
        stream.next().await,
        Some(Event::SupervisorLogged(LogFact::Opened))
    );
    assert_eq!(stream.next().await, Some(exit("onebox")));
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(fake.connections(), 1);
}

/// The timers of this process's connections to a port, as the kernel lists them: `02` is the one of keep-alive.
fn kernel_timers(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let established = table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_ours = columns.get(2)?.ends_with(&remote) && *columns.get(3)? == "01";
        is_ours.then(|| columns[5].split(':').next().unwrap_or_default().to_owned())
    });
    established.collect()
}

/// A connection that is only half open looks like a silent log.
#[tokio::test]
async fn the_kernel_watches_a_silent_log_which_is_never_closed_for_its_silence() {
    let fake = Fake::start(|_| Reply::Bytes(HEAD.into())).await;
    let mut stream = pin!(log_events_with(client(fake.address), PAUSES));
    assert_eq!(
        stream.next().await,
        Some(Event::SupervisorLogged(LogFact::Opened))
    );
    assert_eq!(kernel_timers(fake.address.port()), ["02"]);
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(fake.seen().len(), 1);
}
