//! A Cloudly that means harm, or a proxy that thinks it is one: whatever it answers, the agent lives, stays small,
//! answers on its local API, keeps its identity, and is back as soon as the other side behaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/hostile.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod hostile;
#[path = "support/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod rig;

use baseos_simulator::harness::{Error, wait_until};
use futures_util::future::join_all;
use hostile::{Hostile, Reply, json_reply, now, raw};
use rig::{Rig, SOON};
use serde_json::json;
use std::time::Duration;

const JSON: &str = "Content-Type: application/json\r\n";

/// Answers that are none, by name. `elsewhere` is where the redirects lead.
fn faults(elsewhere: &str) -> Vec<(&'static str, Reply)> {
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let piece = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let html = "<html><body>Sign in to use this network</body></html>";
    let redirect = |status: &str| raw(status, &format!("Location: {elsewhere}\r\n"), "");
    let mut gzip = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    gzip.resize(gzip.len() + 1_000_000, 0x5a);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_member = format!(
        r#"{{"serverTime":"{}","nextHeartbeatSeconds":1,"extra":{}{}}}"#,
        now(),
        r#"{"a":"#.repeat(100_000),
        "}".repeat(100_000)
    );
    let announced =
        |length: u64| format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {length}\r\n\r\n").into_bytes();
    vec![
        (
            "500 with HTML",
            raw("500 Internal Server Error", "Content-Type: text/html\r\n", html),
        ),
        ("502 without a body", raw("502 Bad Gateway", "", "")),
        (
            "a captive portal",
            raw("200 OK", "Content-Type: text/html\r\n", html),
        ),
        ("no content type", raw("200 OK", "", "{}")),
        ("204", raw("204 No Content", "", "")),
        (
            "404 of a proxy",
            raw("404 Not Found", "Content-Type: text/html\r\n", html),
        ),
        (
            "401 of a proxy",
            raw("401 Unauthorized", "Content-Type: text/html\r\n", html),
        ),
        (
            "410 of a proxy",
            raw("410 Gone", "Content-Type: text/html\r\n", html),
        ),
        ("301", redirect("301 Moved Permanently")),
        ("307", redirect("307 Temporary Redirect")),
        ("308", redirect("308 Permanent Redirect")),
        (
            "an endless body in chunks",
            Reply::Endless(chunked.into(), piece.into_bytes()),
        ),
        (
            "an endless body without a length",
            Reply::Endless(plain.into(), vec![b' '; 4096]),
        ),
        (
            "endless headers",
            Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".to_vec()),
        ),
        (
            "an endless header",
            Reply::Endless(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(), vec![b'a'; 4096]),
        ),
        (
            "100 MB, announced",
            Reply::Endless(announced(100_000_000), vec![b'1'; 65536]),
        ),
        ("an absurd length", Reply::Cut(announced(u64::MAX))),
        ("a gzip bomb", Reply::Raw(gzip)),
        ("deep JSON", raw("200 OK", JSON, deep)),
        ("deep JSON in a member", raw("200 OK", JSON, deep_member)),
        ("truncated JSON", raw("200 OK", JSON, r#"{"serverTime":"20"#)),
        (
            "a body cut off",
            Reply::Cut([announced(500), b"{\"serverTime\":".to_vec()].concat()),
        ),
        ("an empty body", raw("200 OK", JSON, "")),
        ("null", raw("200 OK", JSON, "null")),
        ("a list", raw("200 OK", JSON, "[]")),
        ("an empty object", raw("200 OK", JSON, "{}")),
        ("not UTF-8", raw("200 OK", JSON, [0xff, 0xfe, 0x00])),
        ("not HTTP", Reply::Cut(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())),
        ("no answer", Reply::Cut(Vec::new())),
        ("a reset", Reply::Reset),
        (
            "wrong types",
            json_reply(
                "200 OK",
                &json!({ "serverTime": 5, "nextHeartbeatSeconds": "soon",
            "nodeId": {}, "nodeToken": [], "approval": 7, "commands": {}, "desired": "all" }),
            ),
        ),
        (
            "429 with a list",
            raw(
                "429 Too Many Requests",
                "Content-Type: application/problem+json\r\n",
                "[1,2]",
            ),
        ),
        (
            "503 with nonsense",
            raw(
                "503 Service Unavailable",
                "Content-Type: application/problem+json\r\n",
                r#"{"retryAfterSeconds":"soon","code":{},"title":[],"nextHeartbeatSeconds":-5}"#,
            ),
        ),
    ]
}

fn named(name: &str, outcome: Result<(), Error>) -> Result<(), String> {
    outcome.map_err(|error| format!("{name}: {error}"))
}

fn all_well(outcomes: Vec<Result<(), String>>) {
    let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

async fn connected(rig: &Rig) -> Result<(), Error> {
    rig.wait("connected", |status| status.cloudly.connected)
        .await
        .map(drop)
}

/// One agent, enrolled; the fault befalls its heartbeats until it has said so.
async fn while_beating(fault: Reply) -> Result<(), Error> {
    let cloudly = Hostile::start().await;
    let mut rig = Rig::new().with_cloudly(&cloudly.url(), &cloudly.join);
    rig.start().await;
    connected(&rig).await?;
    let before = rig.state()["credentials"].clone();
    cloudly.always("/heartbeat", fault);
    let status = rig
        .wait("the failure shows", |status| status.cloudly.error.is_some())
        .await?;
    let error = status.cloudly.error.unwrap_or_default();
    if error.chars().count() > 400 || error.contains('\n') {
        return Err(Error::because(format!("an error no line can hold: {error}")));
    }
    rig.is_well().await?;
    cloudly.behave();
    connected(&rig).await?;
    rig.is_well().await?;
    if rig.state()["credentials"] != before {
        return Err(Error::because("the credentials changed"));
    }
    let token = format!("Bearer {}", cloudly.node_token().expose());
    if cloudly
        .beats()
        .iter()
        .any(|beat| beat.authorization.as_deref() != Some(&token))
    {
        return Err(Error::because("a heartbeat without the node's token"));
    }
    Ok(())
}

/// One agent that is refused its registration until it has said so.
async fn while_registering(fault: Reply) -> Result<(), Error> {
    let cloudly = Hostile::start().await;
    cloudly.always("/register", fault);
    let mut rig = Rig::new().with_cloudly(&cloudly.url(), &cloudly.join);
    rig.start().await;
    rig.wait("the failure shows", |status| {
        status.summary.contains("tries failed")
    })
    .await?;
    rig.is_well().await?;
    cloudly.behave();
    connected(&rig).await?;
    rig.is_well().await?;
    let ids: Vec<_> = cloudly
        .asked()
        .iter()
        .filter(|asked| asked.path.ends_with("/register"))
        .map(|asked| asked.body["registrationId"].clone())
        .collect();
    if ids.iter().any(|id| *id != ids[0]) {
        return Err(Error::because(format!("not the same registration: {ids:?}")));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answers_a_heartbeat_the_agent_goes_on() {
    let elsewhere = Hostile::start().await;
    let all = faults(&elsewhere.url());
    let all = all
        .into_iter()
        .map(async |(name, fault)| named(name, while_beating(fault).await));
    all_well(join_all(all).await);
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answers_a_registration_the_agent_goes_on() {
    let elsewhere = Hostile::start().await;
    let all = faults(&elsewhere.url());
    let all = all
        .into_iter()
        .map(async |(name, fault)| named(name, while_registering(fault).await));
    all_well(join_all(all).await);
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

/// However a server says when to come back, nobody can make the agent hammer it, nor send it away for days.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_retry_after_makes_a_hot_loop() {
    let date = "Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nRetry-After: Mon, 23 Nov 2026";
    let headers = [
        ("in seconds", "Retry-After: 2".to_owned()),
        ("zero", "Retry-After: 0".to_owned()),
        ("negative", "Retry-After: -7".to_owned()),
        ("absurd", format!("Retry-After: {}", "9".repeat(40))),
        ("a million years", "Retry-After: 31557600000000".to_owned()),
        ("words", "Retry-After: soon".to_owned()),
        ("a date", format!("{date} 10:00:02 GMT")),
        ("a date in the past", format!("{date} 09:00:00 GMT")),
        ("this very moment", format!("{date} 10:00:00 GMT")),
        (
            "a date without a clock",
            "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT".to_owned(),
        ),
    ];
    let statuses = ["429 Too Many Requests", "503 Service Unavailable"];
    let all = headers
        .iter()
        .flat_map(|header| statuses.map(|status| (header, status)));
    let all = all.map(async |((name, header), status)| {
        let outcome = paced(raw(status, &format!("{header}\r\n"), "")).await;
        named(&format!("{name}, {status}"), outcome)
    });
    all_well(join_all(all).await);
}

/// Refuses for five seconds, counts, then behaves.
async fn paced(refusal: Reply) -> Result<(), Error> {
    let cloudly = Hostile::start().await;
    let mut rig = Rig::new().with_cloudly(&cloudly.url(), &cloudly.join);
    rig.start().await;
    connected(&rig).await?;
    let (begin, before) = (cloudly.time(), cloudly.beats().len());
    cloudly.always("/heartbeat", refusal);
    wait_until("five seconds pass", SOON, async || {
        (cloudly.time() >= begin + Duration::from_secs(5))
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    })
    .await?;
    let refused = cloudly.beats().len() - before;
    cloudly.behave();
    if !(1..=4).contains(&refused) {
        return Err(Error::because(format!("{refused} heartbeats in five seconds")));
    }
    connected(&rig).await?;
    rig.is_well().await
}
