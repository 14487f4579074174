//! Everything a network and a server can do wrong becomes one failure of the right kind.

use super::*;
use crate::adapters::fake::{Fake, Reply, http, json};
use crate::lifecycle::facts::CallFailureKind as Kind;
use baseos_interfaces::limits::ANSWER_MAX_BYTES;

async fn fails(reply: impl Fn() -> Reply + Send + Sync + 'static) -> CallFailure {
    let fake = Fake::start(move |_| reply()).await;
    let store = Store::enrolled();
    let failure = failed_heartbeat(format!("http://{}", fake.address), store.clone()).await;
    assert_eq!(fake.seen().len(), 1, "never a retry");
    if failure.kind != Kind::Unauthorized {
        assert!(store.calls().is_empty(), "{:?}", store.calls());
    }
    failure
}

async fn answered(status: &str, headers: &[(&str, &str)], body: &str) -> CallFailure {
    let answer = http(status, headers, body);
    fails(move || Reply::Bytes(answer.clone())).await
}

#[tokio::test]
async fn a_network_that_does_not_work_is_unreachable() {
    let gone = format!("http://{}", Fake::nobody().await);
    let refused = failed_heartbeat(gone, Store::enrolled()).await;
    assert_eq!(refused.kind, Kind::Unreachable);
    assert!(
        refused.message.starts_with("no connection to Cloudly: "),
        "{refused:?}"
    );
    let reset = failed_heartbeat(format!("http://{}", Fake::resetting().await), Store::enrolled()).await;
    assert_eq!(reset.kind, Kind::Unreachable);
    assert!(reset.message.contains("broke off"), "{reset:?}");

    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{";
    for (name, failure) in [
        ("silence", fails(|| Reply::Silence).await),
        ("no answer", fails(|| Reply::Cut(Vec::new())).await),
        ("half a body", fails(move || Reply::Cut(head.into())).await),
        (
            "a stalled body",
            fails(move || Reply::Drip(head.into(), Duration::from_secs(9))).await,
        ),
        (
            "a body without end",
            fails(move || Reply::Drip(head.into(), Duration::from_millis(50))).await,
        ),
    ] {
        assert_eq!(failure.kind, Kind::Unreachable, "{name}: {failure:?}");
        assert!(!failure.message.contains("http://"), "{name}: {failure:?}");
    }
    assert!(fails(|| Reply::Silence).await.message.contains("in time"));
}

#[tokio::test]
async fn an_answer_that_is_none_is_garbage() {
    let of = |body: &str| json("200 OK", body);
    let deep = format!(r#"{{"commands":{}"#, "[".repeat(200_000));
    let odd = r#"{"serverTime":"yesterday","nextHeartbeatSeconds":60}"#;
    let portal = http(
        "200 OK",
        &[("content-type", "text/html")],
        "<html>Welcome to our WLAN</html>",
    );
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (name, answer, says) in [
        ("truncated", of(&QUIET[..30]), "cannot be read"),
        ("empty", of(""), "cannot be read"),
        ("deep nesting", of(&deep), "cannot be read"),
        ("wrong type", of(odd), "cannot be read"),
        ("captive portal", portal, "captive portal"),
        ("no content type", http("200 OK", &[], QUIET), "(none)"),
        (
            "no content",
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "(none)",
        ),
        ("packed", http("200 OK", &gzip, QUIET), "gzip"),
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
        let failure = fails(move || Reply::Bytes(answer.clone())).await;
        assert_eq!(failure.kind, Kind::Garbage, "{name}: {failure:?}");
        assert!(failure.message.contains(says), "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn reading_stops_at_the_limit() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut piece = b"8000\r\n".to_vec();
    piece.extend([b' '; 0x8000]);
    piece.extend(b"\r\n");
    let failures = [
        fails(move || Reply::Endless(announced.into(), vec![b' '; 1 << 16])).await,
        fails(move || Reply::Endless(chunked.into(), piece.clone())).await,
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
async fn each_status_has_its_kind() {
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
        let failure = answered(status, &problem, body).await;
        assert_eq!(failure.kind, kind, "{status}");
        assert_eq!(failure.code, Some("someCode".into()));
        assert_eq!(failure.next_heartbeat_seconds, Some(120));
        let number = &status[..3];
        assert_eq!(
            failure.message,
            format!("Cloudly answered {number}: That was wrong: do it right")
        );
    }
    let retryable = answered("423 Locked", &problem, r#"{"retryable":true,"code":7}"#).await;
    assert_eq!((retryable.kind, retryable.code), (Kind::Unavailable, None));
}

#[tokio::test]
async fn a_middlebox_cannot_speak_for_cloudly() {
    let html = [("content-type", "text/html")];
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "409 Conflict",
        "410 Gone",
        "426 Upgrade Required",
        "404 Not Found",
    ] {
        let failure = answered(status, &html, "<h1>proxy authentication</h1>").await;
        assert_eq!(failure.kind, Kind::Garbage, "{status}: {failure:?}");
    }
    let headers = [("content-type", "text/html"), ("retry-after", "17")];
    let failure = answered("502 Bad Gateway", &headers, "<h1>nginx</h1>").await;
    assert_eq!(
        (failure.kind, failure.retry_after_seconds),
        (Kind::Unavailable, Some(17))
    );
}

#[tokio::test]
async fn a_refused_token_is_reported_to_the_vault() {
    let store = Store::enrolled();
    let answer = http(
        "401 Unauthorized",
        &[("content-type", "application/problem+json")],
        "{}",
    );
    let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
    let failure = failed_heartbeat(format!("http://{}", fake.address), store.clone()).await;
    assert_eq!(failure.kind, Kind::Unauthorized);
    assert_eq!(
        store.calls(),
        [format!("refused {}", token(TokenKind::Node, 2).id())]
    );
}

#[tokio::test]
async fn retry_after_is_believed_within_reason() {
    let date = "Sun, 22 Nov 2026 22:41:07 GMT";
    for (retry_after, body, wanted) in [
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
        let failure = answered("429 Too Many Requests", &headers, body).await;
        assert_eq!(failure.retry_after_seconds, wanted, "{retry_after} {body}");
    }
    let undated = [("retry-after", "Sun, 22 Nov 2026 22:43:07 GMT")];
    assert_eq!(answered("503 Busy", &undated, "").await.retry_after_seconds, None);
}
