//! No token in an event, an error, a debug output or a log, not even when Cloudly repeats one.

use super::*;
use crate::adapters::fake::{Fake, Log, Reply, http, json};

#[tokio::test]
async fn no_token_is_ever_shown() {
    let log = Log::capture();
    let (join, node) = (token(TokenKind::Join, 1), token(TokenKind::Node, 2));
    let (fresh, next) = (token(TokenKind::Node, 3), token(TokenKind::Node, 4));
    let all = [&join, &node, &fresh, &next].map(|token| token.expose().to_owned());
    let echo = all.join(" ");
    let answers = [
        json(
            "201 Created",
            format!(
                r#"{{"nodeId":"n","nodeToken":"{}","approval":"approved","nextHeartbeatSeconds":1,"serverTime":"2026-11-22T22:41:07Z"}}"#,
                fresh.expose()
            ),
        ),
        json(
            "200 OK",
            format!(
                r#"{{"serverTime":"2026-11-22T22:41:07Z","nextHeartbeatSeconds":60,"credentials":{{"nodeToken":"{}"}}}}"#,
                next.expose()
            ),
        ),
        json(
            "200 OK",
            format!(r#"{{"serverTime":"{echo}","nextHeartbeatSeconds":60}}"#),
        ),
        json(
            "200 OK",
            format!(
                r#"{{"nodeToken":{{}},"nodeId":"n","serverTime":"{echo}","nextHeartbeatSeconds":"{echo}"}}"#
            ),
        ),
        http(
            "401 Unauthorized",
            &[("content-type", "application/problem+json")],
            format!(r#"{{"code":"{echo}","title":"{echo}","detail":"{echo}"}}"#),
        ),
        http("200 OK", &[("content-type", &echo)], ""),
        http(
            "200 OK",
            &[
                ("content-type", "application/json"),
                ("content-encoding", &node.expose()[..40]),
            ],
            "",
        ),
        http(
            "307 Temporary Redirect",
            &[("location", &format!("/?{echo}"))],
            "",
        ),
    ];
    let mut shown = String::new();
    for answer in answers {
        let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
        let url = format!("http://{}", fake.address);
        let events = perform_at(url, Store::enrolled(), vec![register(1), heartbeat(2)]).await;
        assert_eq!(events.len(), 2);
        for event in events {
            shown.push_str(&format!("{event:?} {}\n", serde_json::to_string(&event).unwrap()));
        }
    }
    shown.push_str(&log.text());
    assert!(
        shown.contains("starting new connection"),
        "the library's own log is captured: {shown}"
    );
    for secret in &all {
        // The secret part, and any half of it.
        for part in [&secret[15..58], &secret[15..36], &secret[36..58]] {
            assert!(!shown.contains(part), "{part} in {shown}");
        }
    }
}
