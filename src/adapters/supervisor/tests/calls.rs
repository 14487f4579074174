//! The request of each call, and the result of its answer.

use super::*;
use crate::lifecycle::facts::SupervisorErrorKind as Kind;
use crate::lifecycle::supervisor_target::LocalTarget;
use crate::lifecycle::supervisor_target::builder::{History, plan};
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
    Box::new(
        plan(
            &mut TargetRecord::default(),
            &(&release).into(),
            History::New,
            "baserunner",
        )
        .unwrap(),
    )
}

/// Lets the port perform one call; returns its request and its result.
async fn perform_one(
    supervisor_call: SupervisorCall,
    answer: Vec<u8>,
) -> (Seen, Result<SupervisorAnswer, SupervisorError>) {
    let fake = Fake::start(move |_| Reply::Bytes(answer.clone())).await;
    let result = call(client(fake.address), supervisor_call).await;
    let mut requests = fake.seen();
    assert_eq!(requests.len(), 1, "no retry");
    (requests.remove(0), result)
}

#[tokio::test]
async fn each_call_is_one_request() {
    let ok = || http("200 OK", &[("content-type", "text/html")], "OK");
    let target_json = serde_json::to_value(&*target()).unwrap();
    let with_force = |mut value: Value| {
        value["force"] = true.into();
        value
    };
    let service = "main".to_owned();
    for (supervisor_call, answer, path, expected) in [
        (
            SupervisorCall::ApplyTarget {
                target: target(),
                force: false,
            },
            json("200 OK", r#"{"status":"success","message":"OK"}"#),
            "/v2/local/target-state",
            target_json.clone(),
        ),
        (
            SupervisorCall::ApplyTarget {
                target: target(),
                force: true,
            },
            ok(),
            "/v2/local/target-state",
            with_force(target_json),
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
        let name = format!("{supervisor_call:?}");
        let (request, result) = perform_one(supervisor_call, answer).await;
        assert_eq!(result, Ok(SupervisorAnswer::Accepted), "{name}");
        assert_eq!(request.line(), format!("POST {path}?apikey={KEY} HTTP/1.1"));
        assert_eq!(request.json(), expected, "{name}");
        assert!(request.head.contains("content-type: application/json"));
    }
}

#[tokio::test]
async fn an_error_status_becomes_an_error_with_its_kind_and_the_supervisors_text() {
    let lock = "Lockfile exists for { appId: 4242, service: main }";
    let html = [("content-type", "text/html; charset=utf-8")];
    let long = format!("Invalid target state.\\n{}", "x".repeat(5000));
    for (answer, kind, text) in [
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
        let (_, result) = perform_one(SupervisorCall::Reboot, answer).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.starts_with("POST /v1/reboot: "), "{error:?}");
        assert!(error.message.contains(text), "{error:?}");
        assert!(error.message.chars().count() < 400, "{error:?}");
    }
}

async fn logs(text: impl Into<Vec<u8>>) -> String {
    let answer = http("200 OK", &[], text.into());
    let (request, result) = perform_one(SupervisorCall::CollectLogs { lines: 200 }, answer).await;
    assert!(request.line().starts_with("POST /v2/journal-logs?"));
    assert_eq!(request.json()["count"], 200);
    match result {
        Ok(SupervisorAnswer::Logs(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn collected_logs_are_limited_and_redacted() {
    assert_eq!(logs("").await, "");
    let text = format!("one\r\n\u{1b}[31mtwo\ttoken szn_abcdefghij_123 key {KEY} GET /?apikey=zzz\n");
    assert_eq!(
        logs(text).await,
        "one\ntwo\ttoken szn_abcdefghij_*** key *** GET /?apikey=***\n"
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
    // No part of a token remains where the text is cut.
    let token = "szn_0123456789_SECRETsecretSECRETsecretSECRETsecretSECRETsec012345 ";
    let tokens = logs(format!("x{}", token.repeat(5000))).await;
    assert!(
        !tokens.contains("SECRET") && !tokens.contains("secret"),
        "{tokens}"
    );
}

#[tokio::test]
async fn calls_run_in_order_and_a_poll_rate_does_not_wait_for_them() {
    let fake = Fake::start(|_| Reply::Silence).await;
    let (rate_sender, mut rate) = watch::channel(PollRate::Slow);
    let (mailbox, effects) = mpsc::channel(8);
    let (events_sender, mut events) = mpsc::channel(8);
    let port = SupervisorPort::new(client(fake.address), rate_sender);
    let serving = tokio::spawn(port.serve(effects, events_sender));
    let reboot = |op| Effect::Supervisor {
        op: OpId(op),
        call: SupervisorCall::Reboot,
    };
    for effect in [
        reboot(1),
        reboot(2),
        Effect::SetPollRate { rate: PollRate::Fast },
        Effect::Stop,
    ] {
        mailbox.send(effect).await.unwrap();
    }
    drop(mailbox);
    rate.changed().await.unwrap();
    assert_eq!(*rate.borrow(), PollRate::Fast);
    assert!(events.try_recv().is_err(), "the first call is still running");
    for op in [1, 2] {
        let event = events.recv().await.unwrap();
        assert_eq!(event.op(), Some(OpId(op)), "in order");
    }
    serving.await.unwrap();
    assert!(events.recv().await.is_none());
}
