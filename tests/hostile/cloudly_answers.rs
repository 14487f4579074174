//! Broken or malicious answers of Cloudly, or of a proxy in its place: the agent runs on, stays small, answers on its
//! local API, keeps its identity, and is connected again as soon as the answers are right.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use crate::support::scripted_server::{Reply, ScriptedServer, json_reply, now, raw};
use baseos_simulator::harness::{Error, Result, ensure, run_cases, wait_until};
use serde_json::json;
use std::time::Duration;

const JSON: &str = "Content-Type: application/json\r\n";

/// Answers that are not what was asked for, by name. Redirects lead to `other_url`.
fn bad_answers(other_url: &str) -> Vec<(&'static str, Reply)> {
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let piece = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let html = "<html><body>Sign in to use this network</body></html>";
    let redirect = |status: &str| raw(status, &format!("Location: {other_url}\r\n"), "");
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
        ("an absurd length", Reply::Close(announced(u64::MAX))),
        ("a gzip bomb", Reply::Raw(gzip)),
        ("deep JSON", raw("200 OK", JSON, deep)),
        ("deep JSON in a member", raw("200 OK", JSON, deep_member)),
        ("truncated JSON", raw("200 OK", JSON, r#"{"serverTime":"20"#)),
        (
            "a body cut off",
            Reply::Close([announced(500), b"{\"serverTime\":".to_vec()].concat()),
        ),
        ("an empty body", raw("200 OK", JSON, "")),
        ("null", raw("200 OK", JSON, "null")),
        ("a list", raw("200 OK", JSON, "[]")),
        ("an empty object", raw("200 OK", JSON, "{}")),
        ("not UTF-8", raw("200 OK", JSON, [0xff, 0xfe, 0x00])),
        ("not HTTP", Reply::Close(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())),
        ("no answer", Reply::Close(Vec::new())),
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

/// An agent that has not been started, and its Cloudly.
async fn agent_and_cloudly() -> (AgentProcess, ScriptedServer) {
    let cloudly = ScriptedServer::start().await;
    let agent = AgentProcess::new().with_cloudly(&cloudly.url(), &cloudly.join_token);
    (agent, cloudly)
}

/// An enrolled agent gets this answer to its heartbeats until its status shows an error.
async fn bad_heartbeat_answer(answer: Reply) -> Result<()> {
    let (mut agent, cloudly) = agent_and_cloudly().await;
    agent.start().await;
    agent.wait_connected().await?;
    let before = agent.state()["credentials"].clone();
    cloudly.always_answer("/heartbeat", answer);
    let status = agent
        .wait("the status has an error", |status| status.cloudly.error.is_some())
        .await?;
    let error = status.cloudly.error.unwrap_or_default();
    if error.chars().count() > 400 || error.contains('\n') {
        return Err(Error::new(format!("the error does not fit a line: {error}")));
    }
    agent.check_health().await?;
    cloudly.answer_as_cloudly();
    agent.wait_connected().await?;
    agent.check_health().await?;
    if agent.state()["credentials"] != before {
        return Err(Error::new("the credentials changed"));
    }
    let token = format!("Bearer {}", cloudly.node_token().expose());
    let heartbeats = cloudly.heartbeats();
    if heartbeats
        .iter()
        .any(|heartbeat| heartbeat.authorization.as_deref() != Some(&token))
    {
        return Err(Error::new("a heartbeat without the node's token"));
    }
    Ok(())
}

/// An agent gets this answer to its registrations until its status shows a failure.
async fn bad_registration_answer(answer: Reply) -> Result<()> {
    let (mut agent, cloudly) = agent_and_cloudly().await;
    cloudly.always_answer("/register", answer);
    agent.start().await;
    agent
        .wait("the status has a failure", |status| {
            status.summary.contains("tries failed")
        })
        .await?;
    agent.check_health().await?;
    cloudly.answer_as_cloudly();
    agent.wait_connected().await?;
    agent.check_health().await?;
    let ids: Vec<_> = cloudly
        .registrations()
        .iter()
        .map(|request| request.body["registrationId"].clone())
        .collect();
    if ids.iter().any(|id| *id != ids[0]) {
        return Err(Error::new(format!("different registrations: {ids:?}")));
    }
    Ok(())
}

/// Runs a case for each bad answer; redirects must not be followed.
async fn for_each_bad_answer(case: impl AsyncFn(Reply) -> Result<()>) {
    let other = ScriptedServer::start().await;
    let cases = bad_answers(&other.url())
        .into_iter()
        .map(|(name, answer)| (name, case(answer)));
    run_cases(cases).await.unwrap();
    assert_eq!(other.connections(), 0, "a redirect was followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_every_bad_answer_to_a_heartbeat() {
    for_each_bad_answer(bad_heartbeat_answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_every_bad_answer_to_a_registration() {
    for_each_bad_answer(bad_registration_answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_retry_after_makes_a_hot_loop_or_a_wait_for_days() {
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
    let cases = headers.iter().flat_map(|(name, header)| {
        statuses.map(|status| {
            let refusal = raw(status, &format!("{header}\r\n"), "");
            (format!("{name}, {status}"), refused_heartbeats(refusal))
        })
    });
    run_cases(cases).await.unwrap();
}

/// Refuses heartbeats and counts those of the next five seconds.
async fn refused_heartbeats(refusal: Reply) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(5);
    let (mut agent, cloudly) = agent_and_cloudly().await;
    agent.start().await;
    agent.wait_connected().await?;
    let before = cloudly.heartbeats().len();
    cloudly.always_answer("/heartbeat", refusal);
    let refused = || -> Vec<Duration> {
        let heartbeats = cloudly.heartbeats();
        heartbeats[before..]
            .iter()
            .map(|heartbeat| heartbeat.at)
            .collect()
    };
    let first = wait_until("a refused heartbeat", LIMIT, async || {
        refused().first().copied().ok_or_else(String::new)
    });
    let end = first.await? + WINDOW;
    wait_until("five seconds", LIMIT, async || {
        ensure(cloudly.time() > end, String::new)
    })
    .await?;
    let in_window = refused().into_iter().filter(|at| *at <= end).count();
    cloudly.answer_as_cloudly();
    if in_window > 4 {
        return Err(Error::new(format!("{in_window} heartbeats in five seconds")));
    }
    agent.wait_connected().await?;
    agent.check_health().await
}
