//! Failed calls: network faults, invalid answers and refusals.

use super::*;
use crate::adapters::fake::{Reply, http, json};
use crate::lifecycle::facts::CallFailureKind as Kind;
use baseos_interfaces::limits::ANSWER_MAX_BYTES;

async fn failure_of(reply: impl Fn() -> Reply + Send + Sync + 'static) -> CallFailure {
    let fake = Fake::start(move |_| reply()).await;
    let vault = RecordingVault::enrolled();
    let failure = failed_heartbeat(url(&fake), vault.clone()).await;
    assert_eq!(fake.seen().len(), 1, "no retry");
    if !matches!(failure.kind, Kind::Unauthorized | Kind::Removed) {
        assert!(vault.calls().is_empty(), "{:?}", vault.calls());
    }
    failure
}

async fn failure_of_answer(status: &str, headers: &[(&str, &str)], body: &str) -> CallFailure {
    let answer = http(status, headers, body);
    failure_of(move || Reply::Bytes(answer.clone())).await
}

#[tokio::test]
async fn a_network_fault_is_unreachable() {
    let gone = format!("http://{}", Fake::nobody().await);
    let refused = failed_heartbeat(gone, RecordingVault::enrolled()).await;
    assert_eq!(refused.kind, Kind::Unreachable);
    assert!(
        refused.message.starts_with("no connection to Cloudly: "),
        "{refused:?}"
    );
    let reset = failed_heartbeat(
        format!("http://{}", Fake::resetting().await),
        RecordingVault::enrolled(),
    )
    .await;
    assert_eq!(reset.kind, Kind::Unreachable);
    assert!(reset.message.contains("broke off"), "{reset:?}");

    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{";
    for (name, failure) in [
        ("silence", failure_of(|| Reply::Silence).await),
        ("no answer", failure_of(|| Reply::Cut(Vec::new())).await),
        ("half a body", failure_of(move || Reply::Cut(head.into())).await),
        (
            "a stalled body",
            failure_of(move || Reply::Drip(head.into(), Duration::from_secs(9))).await,
        ),
        (
            "a body without end",
            failure_of(move || Reply::Drip(head.into(), Duration::from_millis(50))).await,
        ),
    ] {
        assert_eq!(failure.kind, Kind::Unreachable, "{name}: {failure:?}");
        assert!(!failure.message.contains("http://"), "{name}: {failure:?}");
    }
    assert!(failure_of(|| Reply::Silence).await.message.contains("in time"));
}

#[tokio::test]
async fn an_invalid_answer_is_garbage() {
    let ok = |body: &str| json("200 OK", body);
    let deep = format!(r#"{{"commands":{}"#, "[".repeat(200_000));
    let wrong_type = r#"{"serverTime":"yesterday","nextHeartbeatSeconds":60}"#;
    let revision = |revision: u64| {
        let desired = format!(r#"{{"revision":{revision},"issuedAt":"2026-11-22T22:41:07Z","app":null}}"#);
        format!(r#"{{"serverTime":"2026-11-22T22:41:07Z","nextHeartbeatSeconds":60,"desired":{desired}}}"#)
    };
    let portal = http(
        "200 OK",
        &[("content-type", "text/html")],
        "<html>Welcome to our WLAN</html>",
    );
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (name, answer, text) in [
        ("truncated", ok(&EMPTY_ANSWER[..30]), "cannot be read"),
        ("empty", ok(""), "cannot be read"),
        ("deep nesting", ok(&deep), "cannot be read"),
        ("wrong type", ok(wrong_type), "cannot be read"),
        ("revision of 2^53", ok(&revision(1 << 53)), "cannot be read"),
        ("revision of 2^64-1", ok(&revision(u64::MAX)), "below 2^53"),
        ("captive portal", portal, "captive portal"),
        ("no content type", http("200 OK", &[], EMPTY_ANSWER), "(none)"),
        (
            "no content",
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "(none)",
        ),
        ("compressed", http("200 OK", &gzip, EMPTY_ANSWER), "gzip"),
        (
            "redirect",
            http("307 Temporary Redirect", &[("location", "/elsewhere")], ""),
            "redirect",
        ),
        (
            "redirect",
            http("301 Moved", &[("location", "https://example.com/")], ""),
            "redirect",
        ),
    ] {
        let failure = failure_of(move || Reply::Bytes(answer.clone())).await;
        assert_eq!(failure.kind, Kind::Garbage, "{name}: {failure:?}");
        assert!(failure.message.contains(text), "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_size_limit() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut piece = b"8000\r\n".to_vec();
    piece.extend([b' '; 0x8000]);
    piece.extend(b"\r\n");
    let failures = [
        failure_of(move || Reply::Endless(announced.into(), vec![b' '; 1 << 16])).await,
        failure_of(move || Reply::Endless(chunked.into(), piece.clone())).await,
    ];
    for failure in failures {
        assert_eq!(failure.kind, Kind::Garbage, "{failure:?}");
        assert!(
            failure.message.contains(&ANSWER_MAX_BYTES.to_string()),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn interim_answers_without_end_run_into_the_calls_time_limit() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let failure = failure_of(move || Reply::Endless(Vec::new(), interim.repeat(1000).into())).await;
    assert_eq!(failure.kind, Kind::Unreachable, "{failure:?}");
    assert!(failure.message.contains("in time"), "{failure:?}");
}

#[tokio::test]
async fn each_status_has_its_failure_kind() {
    let problem = [("content-type", "application/problem+json")];
    let body = r#"{"status":0,"code":"someCode","title":"That was wrong","detail":"do it right","nextHeartbeatSeconds":120}"#;
    for (status, kind) in [
        ("401 Unauthorized", Kind::Unauthorized),
        ("403 Forbidden", Kind::Suspended),
        ("409 Conflict", Kind::Conflict),
        ("410 Gone", Kind::Removed),
        ("426 Upgrade Required", Kind::TooOld),
        ("400 Bad Request", Kind::Rejected),
        ("413 Content Too Large", Kind::Rejected),
        ("422 Unprocessable Content", Kind::Rejected),
        ("408 Request Timeout", Kind::Unavailable),
        ("429 Too Many Requests", Kind::Unavailable),
        ("500 Internal Server Error", Kind::Unavailable),
        ("503 Service Unavailable", Kind::Unavailable),
    ] {
        let failure = failure_of_answer(status, &problem, body).await;
        assert_eq!(failure.kind, kind, "{status}");
        assert_eq!(failure.code, Some("someCode".into()));
        assert_eq!(failure.next_heartbeat_seconds, Some(120));
        let number = &status[..3];
        assert_eq!(
            failure.message,
            format!("Cloudly answered {number}: That was wrong: do it right")
        );
    }
    let retryable = failure_of_answer("423 Locked", &problem, r#"{"retryable":true,"code":7}"#).await;
    assert_eq!((retryable.kind, retryable.code), (Kind::Unavailable, None));
}

#[tokio::test]
async fn a_status_about_the_node_counts_only_with_json() {
    let html = [("content-type", "text/html")];
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "409 Conflict",
        "410 Gone",
        "426 Upgrade Required",
        "404 Not Found",
    ] {
        let failure = failure_of_answer(status, &html, "<h1>proxy authentication</h1>").await;
        assert_eq!(failure.kind, Kind::Garbage, "{status}: {failure:?}");
    }
    let headers = [("content-type", "text/html"), ("retry-after", "17")];
    let failure = failure_of_answer("502 Bad Gateway", &headers, "<h1>nginx</h1>").await;
    assert_eq!(
        (failure.kind, failure.retry_after_seconds),
        (Kind::Unavailable, Some(17))
    );
}

#[tokio::test]
async fn a_refused_token_is_reported_to_the_vault() {
    for (status, kind) in [
        ("401 Unauthorized", Kind::Unauthorized),
        ("410 Gone", Kind::Removed),
    ] {
        let vault = RecordingVault::enrolled();
        let answer = http(status, &[("content-type", "application/problem+json")], "{}");
        let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
        let failure = failed_heartbeat(url(&fake), vault.clone()).await;
        assert_eq!(failure.kind, kind);
        assert_eq!(
            vault.calls(),
            [format!("refused {}", token(TokenKind::Node, 2).id())]
        );
    }
}

#[tokio::test]
async fn retry_after_is_used_when_it_is_plausible() {
    let date = "Sun, 22 Nov 2026 22:41:07 GMT";
    for (retry_after, body, expected) in [
        ("17", "{}", Some(17)),
        ("0", "{}", Some(0)),
        ("86400", "{}", Some(3600)),
        ("-5", "{}", None),
        ("99999999999999999999999", "{}", None),
        ("31536000", "{}", None),
        ("soon", "{}", None),
        ("1.5", "{}", None),
        ("Sun, 22 Nov 2026 22:43:07 GMT", "{}", Some(120)),
        ("Mon, 23 Nov 2026 22:41:07 GMT", "{}", Some(3600)),
        ("Sun, 22 Nov 2026 22:40:00 GMT", "{}", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "{}", None),
        ("Sunday, 22-Nov-26 22:43:07 GMT", "{}", None),
        ("17", r#"{"retryAfterSeconds":60}"#, Some(60)),
        ("170", r#"{"retryAfterSeconds":60}"#, Some(170)),
        ("x", r#"{"retryAfterSeconds":7200}"#, Some(3600)),
        ("x", r#"{"retryAfterSeconds":-60}"#, None),
        ("x", r#"{"retryAfterSeconds":"60"}"#, None),
    ] {
        let headers = [
            ("content-type", "application/problem+json"),
            ("date", date),
            ("retry-after", retry_after),
        ];
        let failure = failure_of_answer("429 Too Many Requests", &headers, body).await;
        assert_eq!(failure.retry_after_seconds, expected, "{retry_after} {body}");
    }
    let undated = [("retry-after", "Sun, 22 Nov 2026 22:43:07 GMT")];
    assert_eq!(
        failure_of_answer("503 Busy", &undated, "")
            .await
            .retry_after_seconds,
        None
    );
}
