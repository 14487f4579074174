//! What each call sends, and what its answer becomes.

use super::*;
use crate::lifecycle::facts::SupervisorErrorKind as Kind;
use crate::lifecycle::supervisor_target::LocalTarget;
use crate::lifecycle::supervisor_target::builder::plan;
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use baseos_interfaces::desired::Release;
use serde_json::{Value, json as body};

fn target() -> Box<LocalTarget> {
    let release: Release = serde_json::from_value(body!({
        "releaseId": "rel_1", "commit": "abc1234", "volumes": { "baseos": {} },
        "services": { "baserunner": {
            "image": "registry.example/baserunner@sha256:00",
            "labels": { "io.balena.features.supervisor-api": "1" },
            "composition": { "volumes": ["baseos:/data/baseos"] },
        } },
    }))
    .unwrap();
    Box::new(plan(&mut TargetRecord::default(), &(&release).into(), "baserunner").unwrap())
}

/// Lets the port make one call and shows what was sent.
async fn sent(made: SupervisorCall, answer: Vec<u8>) -> (Seen, Result<SupervisorAnswer, SupervisorError>) {
    let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
    let answer = call(client(fake.address), made).await;
    let mut seen = fake.seen();
    assert_eq!(seen.len(), 1, "once, whatever comes of it");
    (seen.remove(0), answer)
}

#[tokio::test]
async fn each_call_is_one_request() {
    let ok = || http("200 OK", &[("content-type", "text/html")], "OK");
    let force = target();
    let whole = serde_json::to_value(&*force).unwrap();
    let with_force = |mut value: Value| {
        value["force"] = true.into();
        value
    };
    let service = "main".to_owned();
    for (made, answer, path, wanted) in [
        (
            SupervisorCall::ApplyTarget {
                target: target(),
                force: false,
            },
            json("200 OK", r#"{"status":"success","message":"OK"}"#),
            "/v2/local/target-state",
            whole.clone(),
        ),
        (
            SupervisorCall::ApplyTarget {
                target: force,
                force: true,
            },
            ok(),
            "/v2/local/target-state",
            with_force(whole),
        ),
        (
            SupervisorCall::TriggerUpdate { force: false },
            http("204 No Content", &[], ""),
            "/v1/update",
            body!({"force": false, "cancel": false}),
        ),
        (
            SupervisorCall::TriggerUpdate { force: true },
            json("202 Accepted", ""),
            "/v1/update",
            body!({"force": true, "cancel": true}),
        ),
        (
            SupervisorCall::RestartApp { app_id: 4242 },
            ok(),
            "/v2/applications/4242/restart",
            body!({"force": true}),
        ),
        (
            SupervisorCall::RestartService { app_id: 1, service },
            ok(),
            "/v2/applications/1/restart-service",
            body!({"serviceName": "main"}),
        ),
        (
            SupervisorCall::Reboot,
            json("202 Accepted", r#"{"Data":"OK","Error":null}"#),
            "/v1/reboot",
            body!({}),
        ),
    ] {
        let name = format!("{made:?}");
        let (seen, answer) = sent(made, answer).await;
        assert_eq!(answer, Ok(SupervisorAnswer::Accepted), "{name}");
        assert_eq!(seen.line(), format!("POST {path}?apikey={KEY} HTTP/1.1"));
        assert_eq!(seen.json(), wanted, "{name}");
        assert!(seen.head.contains("content-type: application/json"));
    }
}

#[tokio::test]
async fn refusals_have_their_kind_and_the_supervisors_words() {
    let lock = "Lockfile exists for { appId: 4242, service: main }";
    let html = [("content-type", "text/html; charset=utf-8")];
    let long = format!("Invalid target state.\\n{}", "x".repeat(5000));
    for (answer, kind, says) in [
        (
            http("401 Unauthorized", &html, "Unauthorized"),
            Kind::Unauthorized,
            "401: Unauthorized",
        ),
        (
            json("423 Locked", format!(r#"{{"Data":"","Error":"{lock}"}}"#)),
            Kind::Locked,
            lock,
        ),
        (
            json(
                "423 Locked",
                format!(r#"{{"status":"failed","message":"{lock}"}}"#),
            ),
            Kind::Locked,
            lock,
        ),
        (http("423 Locked", &html, lock), Kind::Locked, lock),
        (
            http("400 Bad Request", &html, "Missing app id"),
            Kind::Refused,
            "400: Missing app id",
        ),
        (
            json("400 Bad Request", format!(r#"{{"message":"{long}"}}"#)),
            Kind::Refused,
            "400: Invalid target state. xxx",
        ),
        (
            json(
                "409 Conflict",
                r#"{"status":"failed","message":"Application ID does not exist: 1"}"#,
            ),
            Kind::Refused,
            "does not exist",
        ),
        (http("404 Not Found", &html, ""), Kind::Refused, "answered 404"),
        (
            json(
                "503 Service Unavailable",
                r#"{"status":"failed","message":"not now"}"#,
            ),
            Kind::Unavailable,
            "not now",
        ),
        (
            http("302 Found", &[("location", "/v1/shutdown")], ""),
            Kind::Garbage,
            "answered 302",
        ),
    ] {
        let (_, answer) = sent(SupervisorCall::Reboot, answer).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.starts_with("POST /v1/reboot: "), "{error:?}");
        assert!(error.message.contains(says), "{error:?}");
        assert!(error.message.chars().count() < 400, "{error:?}");
    }
}

async fn logs(text: impl Into<Vec<u8>>) -> String {
    let answer = http("200 OK", &[], text.into());
    let (seen, answer) = sent(SupervisorCall::CollectLogs { lines: 200 }, answer).await;
    assert!(seen.line().starts_with("POST /v2/journal-logs?"));
    assert_eq!(seen.json()["count"], 200);
    match answer {
        Ok(SupervisorAnswer::Logs(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn logs_are_short_text_without_secrets() {
    assert_eq!(logs("").await, "");
    let text = format!("one\r\n\u{1b}[31mtwo\ttoken szn_abcdefghij_123 key {KEY} GET /?apikey=zzz\n");
    assert_eq!(
        logs(text).await,
        "one\n[31mtwo\ttoken szn_abcdefghij_*** key *** GET /?apikey=***\n"
    );
    assert_eq!(logs(b"caf\xc3".to_vec()).await, "caf\u{fffd}");
    let long: String = (0..200_000).map(|n| format!("line {n} äöü\n")).collect();
    let end = logs(long).await;
    assert!(
        end.len() <= 16 * 1024 && end.len() > 16 * 1024 - 64,
        "{}",
        end.len()
    );
    assert!(end.ends_with("line 199999 äöü\n"));
    // Wherever the text is cut, half a token is no more to be seen than a whole one.
    let token = "szn_0123456789_SECRETsecretSECRETsecretSECRETsecretSECRETsec012345 ";
    let tokens = logs(format!("x{}", token.repeat(5000))).await;
    assert!(
        !tokens.contains("SECRET") && !tokens.contains("secret"),
        "{tokens}"
    );
}
