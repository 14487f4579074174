//! Tokens in answers do not get into events, errors, debug output or logs.

use super::*;
use crate::adapters::fake::{Log, Reply, http, json};

#[tokio::test]
async fn no_event_error_or_log_line_contains_a_token() {
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
    let mut output = String::new();
    for answer in answers {
        let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
        let effects = vec![register(1), heartbeat(2)];
        let events = perform_at(url(&fake), RecordingVault::enrolled(), effects).await;
        assert_eq!(events.len(), 2);
        for event in events {
            output.push_str(&format!("{event:?} {}\n", serde_json::to_string(&event).unwrap()));
        }
    }
    output.push_str(&log.text());
    assert!(
        output.contains("hyper_util::client"),
        "the HTTP library's trace is captured: {output}"
    );
    for secret in &all {
        // The secret part and each half of it.
        for part in [&secret[15..58], &secret[15..36], &secret[36..58]] {
            assert!(!output.contains(part), "{part} in {output}");
        }
    }
}
