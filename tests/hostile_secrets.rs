//! No secret in any output: every path is driven at the finest log level with known tokens and keys, then all that
//! was printed, answered and stored is searched for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/leaks.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod leaks;
#[path = "support/people.rs"]
#[allow(unreachable_pub, reason = "a module of this test")]
mod people;

use baseos_interfaces::admin::{CreateCommand, CreateJoinToken};
use baseos_interfaces::command::{CommandAction, CommandState};
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{Programs, Stage, StageOptions, Version, read_state, wait_until};
use leaks::{Secret, files, leaks};
use people::{Seen, cli, people};
use std::collections::BTreeMap;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn environment(stage: &Stage) -> BTreeMap<String, String> {
    let pid = stage.device.pid("baserunner").unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    text.split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn node_token(stage: &Stage) -> String {
    let state = read_state(&stage.state_dir()).unwrap().to_string();
    let at = state.find("szn_").expect("a node token");
    state[at..at + 64].to_owned()
}

async fn api(seen: &mut Seen, stage: &Stage, method: &str, path: &str, body: Option<&str>) {
    let answer = stage
        .agent
        .call(method, path, body.map(str::to_owned))
        .await
        .unwrap();
    seen.add(&format!("the answer to {method} {path}"), answer.body);
}

/// Runs it all; returns what was seen and what must not be in it.
async fn drive(format: &str) -> (Seen, Vec<Secret>, usize) {
    let mut seen = Seen::default();
    let mut options = StageOptions::new(Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap());
    for (name, value) in [
        ("BASEOS_LOG", "trace"),
        ("BASEOS_LOG_FORMAT", format),
        ("BASEOS_SUPERVISOR_POLL", "1s"),
    ] {
        options
            .agent_environment
            .insert(name.to_owned(), value.to_owned());
    }
    options
        .cloudly_environment
        .insert("CLOUDLY_LOG".to_owned(), "trace".to_owned());
    options
        .cloudly_environment
        .insert("CLOUDLY_LOG_FORMAT".to_owned(), format.to_owned());
    let mut stage = Stage::start(options).await.unwrap();
    let node = stage.cloudly.wait_for_node(LONG).await.unwrap().id;
    stage
        .wait_agent("idle", LONG, |status| {
            status.cloudly.connected && status.supervisor.available
        })
        .await
        .unwrap();
    let env = environment(&stage);
    let (join, key) = (
        env["BASEOS_JOIN_TOKEN"].clone(),
        env["BALENA_SUPERVISOR_API_KEY"].clone(),
    );
    let local = std::fs::read_to_string(stage.device.run_dir().join("token"))
        .unwrap()
        .trim()
        .to_owned();
    let old = node_token(&stage);
    let admin = std::fs::read_to_string(stage.cloudly.admin_token_file()).unwrap();
    let admin = admin.trim().to_owned();

    // A Supervisor that asks for the key: the one it gave is in use.
    for managed in [true, false] {
        stage.device.set_down(true);
        stage
            .wait_agent("down", LONG, |status| !status.supervisor.available)
            .await
            .unwrap();
        stage.device.set_managed(managed);
        stage.device.set_down(false);
        stage
            .wait_agent("up", LONG, |status| status.supervisor.managed == Some(managed))
            .await
            .unwrap();
    }

    // Commands: a new token, and logs that hold all of them.
    let rotate = CreateCommand {
        action: CommandAction::RotateToken {},
        ttl_seconds: None,
    };
    stage.cloudly.create_command(&node, &rotate).await.unwrap();
    let new = wait_until("the token is another", LONG, async || {
        let now = node_token(&stage);
        if now != old && stage.node().await.is_ok() {
            Ok(now)
        } else {
            Err(String::new())
        }
    })
    .await
    .unwrap();
    let lines = [&join, &old, &new, &local].map(|token| format!("app: Authorization: Bearer {token} end"));
    stage.device.model(|model, _| {
        model.journal.extend(lines);
        model
            .journal
            .push(format!("GET /v1/device?apikey={key} and {key}"));
    });
    let collect = CreateCommand {
        action: CommandAction::CollectLogs { lines: 5 },
        ttl_seconds: None,
    };
    let collect = stage.cloudly.create_command(&node, &collect).await.unwrap().id;
    let logs = wait_until("the logs are there", LONG, async || {
        let commands = stage
            .cloudly
            .commands(&node)
            .await
            .map_err(|error| error.to_string())?;
        let found = commands.into_iter().find(|command| command.id == collect);
        found
            .and_then(|command| command.result)
            .ok_or_else(|| "no result".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(logs.state, CommandState::Succeeded, "{logs:?}");
    seen.add("the logs Cloudly got", logs.message.unwrap_or_default());

    // An update, and one that is rolled back.
    let (good, bad) = (
        Version::new("b2b2b2b2", "2.0.0", "onebox:2"),
        Version::new("c3c3c3c3", "3.0.0", "onebox:crashes").with_onebox_restart("no"),
    );
    stage.publish(&good).await.unwrap();
    stage.publish(&bad).await.unwrap();
    let mut policy = stage.quick_policy();
    policy.max_attempts = 1;
    stage.desire(Some("b2b2b2b2"), policy.clone()).await.unwrap();
    stage.wait_runs("b2b2b2b2", LONG).await.unwrap();
    stage
        .wait_agent("2.0.0 is good", LONG, |status| status.state.as_str() == "idle")
        .await
        .unwrap();
    stage.desire(Some("c3c3c3c3"), policy).await.unwrap();
    stage
        .wait_agent("3.0.0 is rolled back", LONG, |status| {
            status.update.state.as_str() == "rolled-back"
        })
        .await
        .unwrap();

    // A Supervisor that takes the key no more; a wrong release of the environment; people.
    stage.device.fault(Fault::on("*", FaultKind::Unauthorized));
    stage
        .wait_agent("no Supervisor", LONG, |status| !status.supervisor.available)
        .await
        .unwrap();
    for path in [
        "/v1/status",
        "/v1/doctor",
        "/v1/locks",
        "/v1/handshake",
        "/metrics",
        "/v1/health",
    ] {
        api(&mut seen, &stage, "GET", path, None).await;
    }
    for token in [&join, &new, &local] {
        let body = format!(r#"{{"joinToken":"{token}x","{token}":1,"replace":"{token}"}}"#);
        api(&mut seen, &stage, "POST", "/v1/join", Some(&body)).await;
        api(
            &mut seen,
            &stage,
            "PUT",
            &format!("/v1/locks/{token}"),
            Some(&body),
        )
        .await;
    }
    people(&mut seen, &env, &stage, [&join, &new, &key]).await;
    let offered = stage
        .cloudly
        .create_join_token(&CreateJoinToken::default())
        .await
        .unwrap()
        .token
        .expose()
        .to_owned();
    cli(&mut seen, &env, &["join", &offered], 1).await;
    stage.device.clear_faults();

    // Cloudly knows nobody any more: 401 to the node, and to the token somebody tries instead.
    stage.cloudly.kill().await;
    for file in files(&stage.dir().join("cloudly"), &[]) {
        seen.add(&file.0, file.1.clone());
        if file.0.contains("cloudly.db") {
            std::fs::remove_file(file.0).unwrap();
        }
    }
    stage.cloudly.start_again().await.unwrap();
    stage
        .wait_agent("401", LONG, |status| {
            status
                .cloudly
                .error
                .as_deref()
                .is_some_and(|error| error.contains("401"))
        })
        .await
        .unwrap();
    cli(&mut seen, &env, &["join", &offered], 0).await;
    stage
        .wait_agent("the join token is refused", LONG, |status| {
            !status.issues.is_empty() || status.cloudly.failures > 1
        })
        .await
        .unwrap();
    cli(&mut seen, &env, &["status"], 0).await;
    seen.0.retain(|(place, _)| {
        !["admin-token", "pepper"]
            .iter()
            .any(|keeper| place.contains(keeper))
    });

    stage.device.terminate("baserunner");
    let traced = stage.device.log_tail("baserunner", usize::MAX);
    let fine = traced.lines().filter(|line| line.contains("TRACE")).count();
    for (place, bytes) in files(stage.dir(), &["token", "admin-token", "token-pepper", "pepper"]) {
        seen.add(&place, bytes);
    }
    let secrets = vec![
        Secret::token("the join token", &join),
        Secret::token("the first node token", &old),
        Secret::token("the second node token", &new),
        Secret::token("the local token", &local),
        Secret::token("the second join token", &offered),
        Secret::token("the admin token", &admin),
        Secret::key("the Supervisor's key", &key),
    ];
    // Where they belong they are found: the search is for what was in use.
    let belong = format!("{env:?} {old} {} {local} {offered} {admin}", node_token(&stage));
    for secret in &secrets {
        let found = leaks(
            "where it belongs",
            belong.as_bytes(),
            std::slice::from_ref(secret),
        );
        assert!(found.len() >= 2, "{secret:?}");
    }
    (seen, secrets, fine)
}

async fn nothing_leaks(format: &str) {
    let (seen, secrets, fine) = drive(format).await;
    assert!(fine > 100, "only {fine} lines at the finest level");
    let whole: usize = seen.0.iter().map(|(_, text)| text.len()).sum();
    assert!(
        seen.0.len() > 40 && whole > 100_000,
        "{} texts of {whole} bytes",
        seen.0.len()
    );
    let found: Vec<_> = seen
        .0
        .iter()
        .flat_map(|(place, text)| leaks(place, text, &secrets))
        .collect();
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_in_any_output_as_text() {
    nothing_leaks("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_in_any_output_as_json() {
    nothing_leaks("json").await;
}

/// The search finds what it is for, in every form.
#[test]
fn a_planted_secret_is_found() {
    let token = "szn_0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR012345";
    let token = &token[..64];
    let secrets = [
        Secret::token("planted", token),
        Secret::key("key", "5f0e1d2c3b4a59687766554433221100"),
    ];
    let planted = [
        token.to_owned(),
        format!("x{}", &token[15..40]),
        format!("…{}", &token[40..]),
        // base64 of the token, as is and behind one and two other bytes.
        "c3puXzAxMjM0NTY3ODlfYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUZHSElKS0xNTk9QUVIwMTIzNA==".to_owned(),
        "eHN6bl8wMTIzNDU2Nzg5X2FiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6QUJDREVGR0hJSktMTU5PUFFSMDEyMzQ=".to_owned(),
        "eHhzem5fMDEyMzQ1Njc4OV9hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ekFCQ0RFRkdISUpLTE1OT1BRUjAxMjM0".to_owned(),
        "apikey=5f0e1d2c3b4a59687766554433221100".to_owned(),
    ];
    for text in planted {
        let text = format!("line\nmore {text} end");
        assert!(!leaks("here", text.as_bytes(), &secrets).is_empty(), "{text}");
    }
    let public = format!("szn_0123456789_*** {}", &token[..15]);
    assert_eq!(leaks("here", public.as_bytes(), &secrets), Vec::<String>::new());
}
