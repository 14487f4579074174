//! Well-formed answers of Cloudly with orders that must not be followed: releases that would lose the device, revisions
//! that go back, repeated commands, invalid tokens, absurd intervals.

use crate::support::LIMIT;
use crate::support::agent::{AgentProcess, mint};
use crate::support::enrolled_agent::{EnrolledAgent, desired, release_1, release_2};
use crate::support::scripted_server::{Reply, Request, ScriptedServer, now, raw};
use baseos_interfaces::token::TokenKind;
use baseos_simulator::harness::{Result, TestRelease, ensure, run_cases, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_and_never_posts_a_release_that_would_lose_the_device() {
    let mut enrolled = EnrolledAgent::start().await;
    type Change = fn(&mut Value);
    let bad: [(&str, &str, Change); 7] = [
        ("b1b1b1b1", "at least one service", |app| {
            app["services"] = json!({});
        }),
        ("b2b2b2b2", "lacks the service `baserunner`", |app| {
            drop(app["services"].as_object_mut().unwrap().remove("baserunner"));
        }),
        ("b3b3b3b3", "io.balena.features.supervisor-api", |app| {
            app["services"]["baserunner"]["labels"] = json!({});
        }),
        ("b4b4b4b4", "mounts no named volume at", |app| {
            app["services"]["baserunner"]["composition"] = json!({});
        }),
        ("b5b5b5b5", "another definition", |app| {
            app["volumes"]["baseos"] = json!({ "driver_opts": { "type": "tmpfs", "device": "tmpfs" } });
        }),
        ("b6b6b6b6", "sets `image`", |app| {
            app["services"]["onebox"]["composition"] = json!({ "image": "other" });
        }),
        ("12345678", "one of the letters a to f", |_| {}),
    ];
    for (revision, (commit, reason, change)) in (1..).zip(bad) {
        let release = TestRelease::new(commit, "2.0.0", "onebox:2");
        enrolled.set_desired(&desired(revision, &release, change));
        let status = enrolled
            .agent
            .wait(reason, |status| {
                status.observed_revision == revision && status.update.error.is_some()
            })
            .await
            .unwrap();
        let error = status.update.error.unwrap();
        assert!(error.message.contains(reason), "{error:?}");
        assert_eq!(error.code, "releaseRefused");
        let reported = wait_until("Cloudly has the reason", LIMIT, async || {
            let has_reason = |heartbeat: &Request| {
                let error = &heartbeat.body["status"]["update"]["error"]["message"];
                error.as_str().is_some_and(|error| error.contains(reason))
            };
            ensure(enrolled.cloudly.heartbeats().iter().any(has_reason), String::new)
        });
        reported.await.unwrap();
        enrolled.assert_healthy().await;
    }
    assert_eq!(enrolled.count_posted_targets(), 0);
    // A good release is still applied.
    let good = TestRelease::new("c1c1c1c1", "3.0.0", "onebox:2");
    enrolled.set_desired(&desired(20, &good, |_| {}));
    enrolled.wait_runs("c1c1c1c1").await;
    assert_eq!(enrolled.count_posted_targets(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignores_a_lower_or_repeated_revision_unless_it_is_a_reset() {
    let mut enrolled = EnrolledAgent::start().await;
    enrolled.set_desired(&desired(43, &release_2(), |_| {}));
    enrolled
        .agent
        .wait("2.0.0 runs", |status| {
            status.running.as_deref() == Some("b2b2b2b2") && status.state.as_str() == "idle"
        })
        .await
        .unwrap();
    assert_eq!(enrolled.count_posted_targets(), 1);
    for revision in [43, 42, 0, 41, 43, 1] {
        enrolled.set_desired(&desired(revision, &release_1(), |_| {}));
        enrolled.wait_heartbeats(1).await;
    }
    let status = enrolled.agent.api().status().await.unwrap();
    let posted = enrolled.count_posted_targets();
    assert_eq!((status.observed_revision, posted), (43, 1), "{status:?}");
    let mut reset = desired(7, &release_1(), |_| {});
    reset["reset"] = json!(true);
    enrolled.set_desired(&reset);
    enrolled
        .agent
        .wait("back at 1.0.0", |status| {
            status.observed_revision == 7 && status.running.as_deref() == Some("a1a1a1a1")
        })
        .await
        .unwrap();
    enrolled.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executes_a_repeated_command_once() {
    let mut enrolled = EnrolledAgent::start().await;
    let command = json!({ "id": "cmd_1", "type": "restartService", "issuedAt": now(), "params": { "service": "onebox" } });
    enrolled.answer_heartbeats_with(json!({ "commands": vec![command.clone(); 50] }));
    let executions = |enrolled: &EnrolledAgent| {
        let path = "/v2/applications/1/restart-service";
        enrolled.device.count_requests("POST", path)
    };
    wait_until("it is executed", LIMIT, async || {
        ensure(executions(&enrolled) > 0, String::new)
    })
    .await
    .unwrap();
    enrolled.wait_heartbeats(3).await;
    // A restarted agent remembers it.
    enrolled.agent.kill().await;
    enrolled.agent.start().await;
    enrolled.wait_heartbeats(3).await;
    assert_eq!(executions(&enrolled), 1);
    let results: Vec<_> = enrolled
        .cloudly
        .heartbeats()
        .iter()
        .filter_map(|heartbeat| heartbeat.body["commandResults"].as_array().cloned())
        .flatten()
        .collect();
    assert!(
        !results.is_empty() && results.iter().all(|result| result["id"] == "cmd_1"),
        "{results:?}"
    );
    enrolled.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepts_unknown_members_and_values_of_a_newer_cloudly() {
    let mut enrolled = EnrolledAgent::start().await;
    let mut desired = desired(5, &release_2(), |app| {
        app["policy"]["onFailure"] = json!("explode");
        app["policy"]["moon"] = json!("full");
        app["services"]["onebox"]["signature"] = json!([1, 2, 3]);
        app["colour"] = json!({ "of": "the release" });
    });
    desired["hostOs"] = json!({ "version": "99", "anything": [true] });
    let commands = json!([
        { "id": "cmd_new", "type": "levitate", "issuedAt": now(), "params": { "metres": 3 }, "by": "me" },
        { "id": "cmd_bare", "type": "levitate", "issuedAt": now() },
    ]);
    enrolled.answer_heartbeats_with(json!({
        "desired": desired, "commands": commands, "approval": "maybe", "weather": ["fine", null, 7.5e300],
    }));
    enrolled.wait_runs("b2b2b2b2").await;
    let both_failed = |heartbeat: &Request| {
        let results = heartbeat.body["commandResults"].as_array();
        results.is_some_and(|results| {
            results.len() == 2 && results.iter().all(|result| result["state"] == "failed")
        })
    };
    let heartbeats = enrolled.cloudly.heartbeats();
    assert!(heartbeats.iter().any(both_failed), "{heartbeats:?}");
    enrolled.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_store_an_invalid_new_token_but_uses_a_valid_one() {
    let mut enrolled = EnrolledAgent::start().await;
    let wrong_kind = mint(TokenKind::Admin).expose().to_owned();
    let mut mistyped = mint(TokenKind::Node).expose().to_owned();
    mistyped.pop();
    mistyped.push('!');
    let before = enrolled.agent.state()["credentials"].clone();
    for invalid in [
        "",
        "null",
        "szn_",
        wrong_kind.as_str(),
        mistyped.as_str(),
        "ü\u{0}\n",
    ] {
        enrolled.answer_heartbeats_with(json!({ "credentials": { "nodeToken": invalid } }));
        enrolled.wait_heartbeats(2).await;
    }
    let used_tokens = |enrolled: &EnrolledAgent| -> Vec<Option<String>> {
        let heartbeats = enrolled.cloudly.heartbeats();
        heartbeats
            .into_iter()
            .map(|heartbeat| heartbeat.authorization)
            .collect()
    };
    let token = Some(format!("Bearer {}", enrolled.cloudly.node_token().expose()));
    assert!(used_tokens(&enrolled).iter().all(|used| *used == token));
    assert_eq!(enrolled.agent.state()["credentials"], before);
    let log = enrolled.agent.log();
    assert!(!log.contains(&mistyped[15..40]), "{}", enrolled.agent.log_tail());
    // The old token stays valid until the new one has been accepted.
    let new = mint(TokenKind::Node);
    enrolled.answer_heartbeats_with(json!({ "credentials": { "nodeToken": new.expose() } }));
    let token = Some(format!("Bearer {}", new.expose()));
    wait_until("the new token is used", LIMIT, async || {
        let last = used_tokens(&enrolled).pop().flatten();
        ensure(last == token, || format!("{last:?}"))
    })
    .await
    .unwrap();
    enrolled.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_follow_a_heartbeat_interval_of_zero_or_centuries() {
    const WINDOW: Duration = Duration::from_secs(4);
    let mut enrolled = EnrolledAgent::start().await;
    enrolled.answer_heartbeats_with(json!({ "nextHeartbeatSeconds": 0 }));
    let (begin, before) = (enrolled.cloudly.time(), enrolled.cloudly.heartbeats().len());
    let after = || enrolled.cloudly.heartbeats().split_off(before);
    wait_until("two heartbeats and four seconds", LIMIT, async || {
        let passed = enrolled.cloudly.time() - begin;
        ensure(passed > WINDOW && after().len() >= 2, || format!("{passed:?}"))
    })
    .await
    .unwrap();
    let in_window = after()
        .iter()
        .filter(|heartbeat| heartbeat.at <= begin + WINDOW)
        .count();
    assert!(in_window <= 7, "{in_window} heartbeats in four seconds");
    // More than the type of the wire holds: the answer is invalid, and the back-off decides.
    enrolled.answer_heartbeats_with(json!({ "nextHeartbeatSeconds": u64::MAX }));
    enrolled
        .agent
        .wait("the answer is invalid", |status| status.cloudly.error.is_some())
        .await
        .unwrap();
    // The longest that the type holds counts as a day, and a local request does not wait for it.
    enrolled.answer_heartbeats_with(json!({ "nextHeartbeatSeconds": u32::MAX }));
    enrolled.agent.wait_connected().await.unwrap();
    enrolled.cloudly.answer_as_cloudly();
    let before = enrolled.cloudly.heartbeats().len();
    let check_now = enrolled.agent.api().call("POST", "/v1/update/check", None).await;
    check_now.unwrap();
    wait_until("a heartbeat at once", LIMIT, async || {
        ensure(enrolled.cloudly.heartbeats().len() > before, String::new)
    })
    .await
    .unwrap();
    enrolled.assert_healthy().await;
}

/// An enrolled agent gets an answer that does not end in time.
async fn slow_answer(reply: Reply) -> Result<()> {
    let cloudly = ScriptedServer::start().await;
    let mut agent = AgentProcess::new().with_cloudly(&cloudly.url(), &cloudly.join_token);
    agent.start().await;
    agent.wait_connected().await?;
    cloudly.always_answer("/heartbeat", reply);
    // The agent's limits: 30 s for a call, 15 s without progress.
    let error = wait_until("the agent's own limit", 3 * LIMIT, async || {
        let status = agent.api().status().await.map_err(|error| error.to_string())?;
        status.cloudly.error.ok_or_else(|| "no error yet".to_owned())
    });
    let error = error.await?;
    cloudly.answer_as_cloudly();
    agent.wait_connected().await?;
    assert!(error.contains("did not answer in time"), "{error}");
    agent.check_health().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_an_answer_that_comes_byte_by_byte_or_stops() {
    let Reply::Raw(spaces) = raw("200 OK", "Content-Type: application/json\r\n", " ".repeat(5000)) else {
        unreachable!("raw makes Raw")
    };
    let slow = Reply::Slow(spaces, Duration::from_millis(100));
    let stopped = Reply::Slow(b"HT".to_vec(), Duration::from_secs(3600));
    let cases = [("byte by byte", slow), ("stopped", stopped)];
    run_cases(cases.map(|(name, reply)| (name, slow_answer(reply))))
        .await
        .unwrap();
}
