//! A Supervisor that is down, slow, broken or wrong: the agent reports it without the URL and the key, runs on, and uses
//! the Supervisor again when it works.

use crate::support::SUPERVISOR_KEY;
use crate::support::agent::AgentProcess;
use crate::support::enrolled_agent::{EnrolledAgent, desired, release_2, start_device};
use crate::support::scripted_server::{Reply, ScriptedServer, json_reply, raw};
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{Error, Result, run_cases};
use serde_json::json;

async fn wait_available(agent: &AgentProcess) -> Result<()> {
    let available = agent.wait("the Supervisor is available", |status| {
        status.supervisor.available == Some(true)
    });
    available.await.map(drop)
}

/// The agent reports that the Supervisor is not available, without its URL and key.
async fn check_unavailable(agent: &mut AgentProcess, url: &str) -> Result<()> {
    let status = agent
        .wait("the Supervisor is not available", |status| {
            status.supervisor.available == Some(false)
        })
        .await?;
    let error = status.supervisor.error.unwrap_or_default();
    let address = url.trim_start_matches("http://");
    let without_redacted = error.replace("apikey=***", "");
    for secret in [SUPERVISOR_KEY, "apikey", address] {
        if without_redacted.contains(secret) {
            return Err(Error::new(format!("`{secret}` in: {error}")));
        }
    }
    if agent.log().contains(&format!("apikey={SUPERVISOR_KEY}")) {
        return Err(Error::new(format!(
            "the key is in the log:\n{}",
            agent.log_tail()
        )));
    }
    if error.is_empty() || error.chars().count() > 500 {
        return Err(Error::new(format!("no reason or a too long one: {error}")));
    }
    agent.check_health().await
}

async fn fault_and_recovery(kind: FaultKind) -> Result<()> {
    let device = start_device().await;
    let mut agent = AgentProcess::new().with_supervisor(&device.supervisor_url());
    agent.start().await;
    wait_available(&agent).await?;
    device.add_fault(Fault::on("*", kind));
    check_unavailable(&mut agent, &device.supervisor_url()).await?;
    device.clear_faults();
    wait_available(&agent).await?;
    agent.check_health().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_every_fault_of_the_supervisor_and_recovers() {
    let kinds = [
        FaultKind::Hang,
        FaultKind::Slow { millis: 60_000 },
        FaultKind::Status { code: 503 },
        FaultKind::Status { code: 423 },
        FaultKind::Status { code: 404 },
        FaultKind::Status { code: 302 },
        FaultKind::Unauthorized,
        FaultKind::Garbage,
        FaultKind::EndlessBody,
        FaultKind::GzipBomb,
        FaultKind::Truncated,
        FaultKind::Dropped,
    ];
    let cases = kinds.map(|kind| (format!("{kind:?}"), fault_and_recovery(kind)));
    run_cases(cases).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_a_supervisor_again_that_was_down_several_times() {
    let device = start_device().await;
    let url = device.supervisor_url();
    device.set_port_closed(true);
    let mut agent = AgentProcess::new().with_supervisor(&url);
    agent.start().await;
    check_unavailable(&mut agent, &url).await.unwrap();
    for _ in 0..3 {
        device.set_port_closed(false);
        wait_available(&agent).await.unwrap();
        device.set_port_closed(true);
        check_unavailable(&mut agent, &url).await.unwrap();
    }
}

/// Answers that no Supervisor gives. `true`: the agent can use it, although it has no content.
fn wrong_answers() -> Vec<(&'static str, bool, Reply)> {
    const JSON: &str = "Content-Type: application/json\r\n";
    let announced = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 100000000\r\n\r\n");
    let chunked = format!("HTTP/1.1 200 OK\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let nulls = json!({ "ip_address": null, "mac_address": null, "os_version": null, "supervisor_version": null,
        "update_failed": null, "appState": null, "overallDownloadProgress": null, "containers": null,
        "release": null, "version": "0" });
    let null_rows = json!({ "containers": [{ "status": null, "serviceName": null, "imageId": null,
        "containerId": null, "createdAt": null }, {}], "appState": "", "version": "0", "release": "" });
    let wrong_types =
        json!({ "ip_address": 5, "os_version": [], "appState": {}, "containers": "none", "version": 3 });
    let negative_id =
        json!({ "overallDownloadProgress": 1e308, "containers": [{ "imageId": -1 }], "version": "0" });
    let long_version =
        json!({ "overallDownloadProgress": -5.0, "containers": [], "version": "9".repeat(300_000) });
    vec![
        ("nulls", true, json_reply("200 OK", &nulls)),
        ("rows of nulls", true, json_reply("200 OK", &null_rows)),
        ("a version of 300 kB", true, json_reply("200 OK", &long_version)),
        ("wrong types", false, json_reply("200 OK", &wrong_types)),
        ("a negative id", false, json_reply("200 OK", &negative_id)),
        ("null", false, raw("200 OK", JSON, "null")),
        ("empty", false, raw("200 OK", JSON, "")),
        ("deep", false, raw("200 OK", JSON, "[".repeat(100_000))),
        (
            "100 MB",
            false,
            Reply::Endless(announced.into(), vec![b' '; 65536]),
        ),
        (
            "chunks without end",
            false,
            Reply::Endless(chunked.into(), b"4\r\n    \r\n".to_vec()),
        ),
        (
            "an endless error",
            false,
            Reply::Endless(
                b"HTTP/1.1 500 Internal Server Error\r\n\r\n".to_vec(),
                vec![b'e'; 4096],
            ),
        ),
        (
            "its key in an error",
            false,
            raw(
                "500 Internal Server Error",
                "",
                format!("at http://127.0.0.1/v1/device?apikey={SUPERVISOR_KEY} and {SUPERVISOR_KEY}"),
            ),
        ),
        (
            "a redirect with the key",
            false,
            raw(
                "302 Found",
                &format!("Location: http://127.0.0.1:1/?apikey={SUPERVISOR_KEY}\r\n"),
                "",
            ),
        ),
        ("not HTTP", false, Reply::Close(b"\x16\x03\x01\x02\x00".to_vec())),
        ("a reset", false, Reply::Reset),
    ]
}

async fn wrong_answer(is_usable: bool, reply: Reply) -> Result<()> {
    let supervisor = ScriptedServer::start().await;
    supervisor.set_script(move |_| Some(reply.clone()));
    let mut agent = AgentProcess::new().with_supervisor(&supervisor.url());
    agent.start().await;
    if is_usable {
        wait_available(&agent).await?;
    } else {
        check_unavailable(&mut agent, &supervisor.url()).await?;
    }
    agent.check_health().await?;
    let right = json!({ "supervisor_version": "1.2.3", "containers": [] });
    supervisor.set_script(move |_| Some(json_reply("200 OK", &right)));
    agent
        .wait("the right answer is used", |status| {
            status.supervisor.version.as_deref() == Some("1.2.3")
        })
        .await?;
    agent.check_health().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_every_wrong_answer_of_the_supervisor() {
    let cases = wrong_answers()
        .into_iter()
        .map(|(name, is_usable, reply)| (name, wrong_answer(is_usable, reply)));
    run_cases(cases).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_while_the_supervisor_fails_and_then_goes_on() {
    let mut enrolled = EnrolledAgent::start().await;
    let locked = FaultKind::Status { code: 423 };
    let fault = Fault::on("/v2/local/target-state", locked);
    enrolled.device.add_fault(fault);
    enrolled.set_desired(&desired(1, &release_2(), |_| {}));
    let status = enrolled
        .agent
        .wait("the update is blocked", |status| {
            !status.update.blocked_by.is_empty()
        })
        .await
        .unwrap();
    assert!(!status.summary.contains(SUPERVISOR_KEY), "{}", status.summary);
    enrolled.device.clear_faults();
    enrolled.wait_runs("b2b2b2b2").await;
    assert_eq!(enrolled.count_posted_targets(), 1);
    enrolled.assert_healthy().await;
}
