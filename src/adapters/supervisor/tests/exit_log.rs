//! The exits found in the Supervisor's log, and the reopening of the log after an end or an error.

use super::*;
use crate::adapters::fake::Log;
use crate::adapters::supervisor::exit_log::service_exits_with;
use futures_util::FutureExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const RETRY_INTERVAL: Duration = Duration::from_millis(5);
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
const IMAGE: &str = "sha256:97986a099b36a09055b41fd89ed9983e11f6cbdbf8798a8c61ac4b7631b304f3";

/// A line of the Supervisor itself.
fn system(message: &str) -> String {
    format!("{{\"message\":\"{message}\",\"isSystem\":true,\"timestamp\":1795388532935}}\n")
}

fn exited(service: &str) -> String {
    system(&format!("Service exited '{service} {IMAGE}'"))
}

fn event(service: &str) -> Option<Event> {
    Some(Event::ServiceExited {
        service: service.to_owned(),
    })
}

/// The exits found in a log, to which an exit of `end` is appended.
async fn exits_in(log: String) -> Vec<String> {
    let answer = format!("{HEAD}{log}{}", exited("end"));
    let fake = Fake::start(move |_| Reply::Cut(answer.clone().into())).await;
    let (_rate_sender, rate) = watch::channel(PollRate::Fast);
    let mut stream = pin!(service_exits_with(client(fake.address), rate, RETRY_INTERVAL));
    let mut all = Vec::new();
    loop {
        match stream.next().await {
            Some(Event::ServiceExited { service }) if service == "end" => break,
            Some(Event::ServiceExited { service }) => all.push(service),
            other => panic!("{other:?}"),
        }
    }
    assert!(fake.seen()[0].path().starts_with("/v2/local/logs?apikey="));
    all
}

#[tokio::test]
async fn each_exit_of_a_crash_loop_is_reported() {
    let again = system(&format!("Restarting service 'onebox {IMAGE}'"));
    let log = [
        system("Streaming logs"),
        exited("onebox"),
        again,
        exited("onebox"),
    ]
    .concat();
    assert_eq!(exits_in(log).await, ["onebox", "onebox"]);
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
    let long = format!("{{\"message\":\"{}\",\"isSystem\":true}}\n", "x".repeat(100_000));
    let invalid = "\n}{\n\u{0}\n[1]\n{\"message\":7,\"isSystem\":true}\nService exited 'main x'\n".to_owned();
    let log = [container, no_flag, long, invalid, exited("onebox")].concat();
    assert_eq!(exits_in(log).await, ["onebox"]);
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
    let (_rate_sender, rate) = watch::channel(PollRate::Fast);
    let mut stream = pin!(service_exits_with(client(fake.address), rate, RETRY_INTERVAL));
    assert_eq!(stream.next().await, event("first"));
    assert_eq!(stream.next().await, event("second"));
    assert_eq!(count.load(Ordering::SeqCst), 6);
    let text = log.text();
    assert!(!text.contains(KEY) && !text.contains(IMAGE), "{text}");
}

#[tokio::test]
async fn there_is_no_connection_while_the_poll_rate_is_slow() {
    let fake = Fake::start(|_| Reply::Bytes(format!("{HEAD}{}", exited("onebox")).into())).await;
    let (rate_sender, rate) = watch::channel(PollRate::Slow);
    let mut stream = pin!(service_exits_with(client(fake.address), rate, RETRY_INTERVAL));
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(fake.connections(), 0);
    rate_sender.send_replace(PollRate::Fast);
    assert_eq!(stream.next().await, event("onebox"));
    rate_sender.send_replace(PollRate::Slow);
    assert!(stream.next().now_or_never().is_none());
    rate_sender.send_replace(PollRate::Fast);
    // The earlier connection was closed.
    assert_eq!(stream.next().await, event("onebox"));
    assert_eq!(fake.connections(), 2);
}
