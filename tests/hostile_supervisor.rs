//! A Supervisor that is down, slow, broken or lying: the agent says so without the URL and the key, goes on, and
//! sees it again when it is back.
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

use baseos_simulator::device::{Device, DeviceConfig, Fault, FaultKind};
use baseos_simulator::harness::{Error, Version};
use baseos_simulator::supervisor::{Config, Timing};
use futures_util::future::join_all;
use hostile::{Hostile, Reply, json_reply, raw};
use rig::{Rig, SUPERVISOR_KEY};
use serde_json::json;

fn all_well(outcomes: Vec<Result<(), String>>) {
    let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

/// What the agent says while the Supervisor is not to be had.
async fn complains(rig: &mut Rig, secret_place: &str) -> Result<(), Error> {
    let status = rig
        .wait("not available", |status| {
            !status.supervisor.available && status.supervisor.error.as_deref() != Some("not looked at yet")
        })
        .await?;
    let error = status.supervisor.error.unwrap_or_default();
    let place = secret_place.trim_start_matches("http://");
    let shown = error.replace("apikey=***", "");
    for secret in [SUPERVISOR_KEY, "apikey", place] {
        if shown.contains(secret) || rig.log().contains(&format!("apikey={SUPERVISOR_KEY}")) {
            return Err(Error::because(format!("`{secret}` in: {error}")));
        }
    }
    if error.is_empty() || error.chars().count() > 500 {
        return Err(Error::because(format!("no reason, or too long a one: {error}")));
    }
    rig.is_well().await
}

async fn befallen(kind: FaultKind) -> Result<(), Error> {
    let supervisor = Config {
        api_key: SUPERVISOR_KEY.to_owned(),
        timing: Timing::fast(),
        ..Config::default()
    };
    let config = DeviceConfig {
        supervisor,
        ..DeviceConfig::default()
    };
    let device = Device::start(config).await?;
    let mut rig = Rig::new().with_supervisor(&device.supervisor_url());
    rig.start().await;
    rig.wait("available", |status| status.supervisor.available)
        .await?;
    device.fault(Fault::on("*", kind));
    complains(&mut rig, &device.supervisor_url()).await?;
    device.clear_faults();
    rig.wait("available again", |status| status.supervisor.available)
        .await?;
    rig.is_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_the_supervisor_is_said_and_passes() {
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
    let all = kinds.map(async |kind| befallen(kind).await.map_err(|error| format!("{kind:?}: {error}")));
    all_well(join_all(all).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_goes_and_comes_back_is_found_again() {
    let supervisor = Config {
        timing: Timing::fast(),
        ..Config::default()
    };
    let config = DeviceConfig {
        supervisor,
        ..DeviceConfig::default()
    };
    let device = Device::start(config).await.unwrap();
    let url = device.supervisor_url();
    device.set_down(true);
    let mut rig = Rig::new().with_supervisor(&url);
    rig.start().await;
    complains(&mut rig, &url).await.unwrap();
    for _ in 0..3 {
        device.set_down(false);
        rig.wait("available", |status| status.supervisor.available)
            .await
            .unwrap();
        device.set_down(true);
        complains(&mut rig, &url).await.unwrap();
    }
}

/// Answers no Supervisor gives, each to every request. `true`: it is a view all the same, only an empty one.
fn lies() -> Vec<(&'static str, bool, Reply)> {
    const JSON: &str = "Content-Type: application/json\r\n";
    let announced = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 100000000\r\n\r\n");
    let chunked = format!("HTTP/1.1 200 OK\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let nulls = json!({ "ip_address": null, "mac_address": null, "os_version": null, "supervisor_version": null,
        "update_failed": null, "appState": null, "overallDownloadProgress": null, "containers": null,
        "release": null, "version": "0" });
    let null_rows = json!({ "containers": [{ "status": null, "serviceName": null, "imageId": null,
        "containerId": null, "createdAt": null }, {}], "appState": "", "version": "0", "release": "" });
    let wrong =
        json!({ "ip_address": 5, "os_version": [], "appState": {}, "containers": "none", "version": 3 });
    let absurd =
        json!({ "overallDownloadProgress": 1e308, "containers": [{ "imageId": -1 }], "version": "0" });
    let bodies = json!({ "overallDownloadProgress": -5.0, "containers": [], "version": "9".repeat(300_000) });
    vec![
        ("nulls", true, json_reply("200 OK", &nulls)),
        ("rows of nulls", true, json_reply("200 OK", &null_rows)),
        ("a version of 300 kB", true, json_reply("200 OK", &bodies)),
        ("wrong types", false, json_reply("200 OK", &wrong)),
        ("a negative id", false, json_reply("200 OK", &absurd)),
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
        ("not HTTP", false, Reply::Cut(b"\x16\x03\x01\x02\x00".to_vec())),
        ("a reset", false, Reply::Reset),
    ]
}

async fn lied_to(is_a_view: bool, reply: Reply) -> Result<(), Error> {
    let supervisor = Hostile::start().await;
    supervisor.script(move |_| Some(reply.clone()));
    let mut rig = Rig::new().with_supervisor(&supervisor.url());
    rig.start().await;
    if is_a_view {
        rig.wait("available", |status| status.supervisor.available)
            .await?;
    } else {
        complains(&mut rig, &supervisor.url()).await?;
    }
    rig.is_well().await?;
    supervisor.script(|_| {
        Some(json_reply(
            "200 OK",
            &json!({ "supervisor_version": "1.2.3", "containers": [] }),
        ))
    });
    rig.wait("it tells the truth", |status| {
        status.supervisor.version.as_deref() == Some("1.2.3")
    })
    .await?;
    rig.is_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_supervisor_answers_the_agent_goes_on() {
    let all = lies().into_iter().map(async |(name, is_a_view, reply)| {
        lied_to(is_a_view, reply)
            .await
            .map_err(|error| format!("{name}: {error}"))
    });
    all_well(join_all(all).await);
}

/// A Supervisor that goes wrong in the middle of an update holds it up, with the reason, and no longer than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_for_a_supervisor_that_fails() {
    let supervisor = Config {
        api_key: SUPERVISOR_KEY.to_owned(),
        timing: Timing::fast(),
        ..Config::default()
    };
    let config = DeviceConfig {
        supervisor,
        ..DeviceConfig::default()
    };
    let device = Device::start(config).await.unwrap();
    device.post_target(&Version::new("a1a1a1a1", "1.0.0", "onebox:1").local_target("rig"));
    let cloudly = Hostile::start().await;
    let mut rig = Rig::new()
        .with_cloudly(&cloudly.url(), &cloudly.join)
        .with_supervisor(&device.supervisor_url())
        .with("BALENA_APP_ID", "1");
    rig.start().await;
    rig.wait("ready", |status| {
        status.running.is_some() && status.cloudly.connected
    })
    .await
    .unwrap();
    let refused = FaultKind::Status { code: 423 };
    device.fault(Fault::on("/v2/local/target-state", refused));
    let release = Version::new("b2b2b2b2", "2.0.0", "onebox:2").release();
    cloudly.script(move |asked| {
        let mut answer = hostile::orders();
        answer["desired"] = json!({ "revision": 1, "issuedAt": hostile::now(), "app": {
            "releaseId": "rel_1", "commit": release.commit, "services": release.services,
            "volumes": release.volumes, "policy": { "healthSeconds": 1 } } });
        asked
            .path
            .ends_with("/heartbeat")
            .then(|| json_reply("200 OK", &answer))
    });
    let status = rig
        .wait("it is held up", |status| !status.update.blocked_by.is_empty())
        .await
        .unwrap();
    assert!(!status.summary.contains(SUPERVISOR_KEY), "{}", status.summary);
    device.clear_faults();
    rig.wait("it goes on", |status| {
        status.running.as_deref() == Some("b2b2b2b2")
    })
    .await
    .unwrap();
    assert_eq!(device.count("POST", "/v2/local/target-state"), 1);
    rig.is_well().await.unwrap();
}
