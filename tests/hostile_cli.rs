//! The command line as scripts use it: exit codes, and what is printed where, with and without a running agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod rig;

use baseos_interfaces::token::TokenKind;
use rig::{Rig, SUPERVISOR_KEY, mint};
use serde_json::Value;
use std::process::Output;

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// Runs and compares the code; the output comes back.
async fn run(rig: &Rig, args: &[&str], wanted: i32) -> Output {
    let output = rig.cli(args).await;
    assert_eq!(
        code(&output),
        wanted,
        "{args:?}: {}{}",
        out(&output),
        err(&output)
    );
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agent_every_command_says_so() {
    let rig = Rig::new();
    let version = run(&rig, &["version"], 0).await;
    assert!(out(&version).starts_with(&format!("baserunner {} ", env!("CARGO_PKG_VERSION"))));
    assert!(out(&run(&rig, &["--version"], 0).await).contains(env!("CARGO_PKG_VERSION")));
    let help = out(&run(&rig, &["--help"], 0).await);
    for command in [
        "status",
        "doctor",
        "locks",
        "healthcheck",
        "join",
        "config",
        "replay",
        "version",
    ] {
        assert!(help.contains(command), "{command} in {help}");
    }
    let status = run(&rig, &["status"], 1).await;
    assert!(
        out(&status).starts_with("The agent is not running."),
        "{}",
        out(&status)
    );
    for word in ["state", "supervisor", "cloudly", "BASEOS_CLOUDLY_URL"] {
        assert!(out(&status).contains(word), "{word}: {}", out(&status));
    }
    let status: Value = serde_json::from_str(&out(&run(&rig, &["status", "--json"], 1).await)).unwrap();
    assert_eq!(
        (
            &status["agentRunning"],
            status["checks"].as_array().unwrap().len()
        ),
        (&false.into(), 3)
    );
    run(&rig, &["doctor"], 1).await;
    for args in [
        &["locks"][..],
        &["healthcheck"],
        &["join", mint(TokenKind::Join).expose()],
    ] {
        let output = run(&rig, args, 1).await;
        assert!(
            err(&output).contains("The agent is not running"),
            "{}",
            err(&output)
        );
        assert_eq!(out(&output), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_agent_the_first_sentence_says_what_it_does() {
    let mut rig = Rig::new();
    rig.start().await;
    let status = out(&run(&rig, &["status"], 0).await);
    assert_eq!(
        status.lines().next(),
        Some("Not enrolled: waiting for a join token."),
        "{status}"
    );
    let status: Value = serde_json::from_str(&out(&run(&rig, &["status", "--json"], 0).await)).unwrap();
    assert_eq!(status["state"], "unenrolled");
    let doctor = out(&run(&rig, &["doctor"], 1).await);
    assert!(
        doctor.contains("✗") && doctor.contains("→") && doctor.contains("baserunner join"),
        "{doctor}"
    );
    assert!(out(&run(&rig, &["locks"], 0).await).contains("No locks."));
    let healthy = run(&rig, &["healthcheck"], 0).await;
    assert_eq!(out(&healthy) + &err(&healthy), "");
    assert!(!doctor.contains('\u{1b}'), "colours only on a terminal");
    // The flag is as good as the variable.
    let run_dir = rig.run_dir().display().to_string();
    let mut elsewhere = Rig::new();
    run(&elsewhere, &["--run-dir", &run_dir, "healthcheck"], 0).await;
    elsewhere.env.remove("BASEOS_RUN_DIR");
    run(&elsewhere, &["healthcheck", "--run-dir", &run_dir], 0).await;
    assert_eq!(rig.stop().await, Some(0));
    run(&rig, &["healthcheck"], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_wrong_exits_2_and_is_not_repeated_if_it_is_a_secret() {
    let rig = Rig::new();
    for args in [
        &["--no-such"][..],
        &["levitate"],
        &["join"],
        &["replay"],
        &["--log", "inof"],
        &["status", "--jsn"],
    ] {
        let output = run(&rig, args, 2).await;
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{args:?}");
    }
    let token = mint(TokenKind::Join);
    let mistyped = format!("{}!", &token.expose()[..63]);
    let output = run(&rig, &["join", &mistyped], 2).await;
    assert!(err(&output).contains("not a join token"), "{}", err(&output));
    assert!(!err(&output).contains(&mistyped[15..]), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_exits_78_and_names_key_value_and_what_is_right() {
    for (name, value, right) in [
        ("BASEOS_CLOUDLY_URL", "cloudly.example", "https://"),
        ("BASEOS_SUPERVISOR_POLL", "sometimes", "30s"),
        ("BASEOS_LOG_FORMAT", "xml", "json"),
        ("BASEOS_AGENT_URL", "ftp://x", "unix://"),
        ("BASEOS_JOURNAL_BYTES", "lots", "MiB"),
        ("BALENA_APP_ID", "one", "number"),
    ] {
        let rig = Rig::new().with(name, value);
        for args in [&["run"][..], &["config"], &["status"]] {
            let output = run(&rig, args, 78).await;
            let said = err(&output);
            assert!(
                said.contains(name) && said.contains(value) && said.contains(right),
                "{said}"
            );
        }
    }
    // What only shows when it is used.
    let rig = Rig::new()
        .with("BASEOS_CLOUDLY_URL", "https://cloudly.example")
        .with("BASEOS_CLOUDLY_CA", "/no/such.pem");
    let output = run(&rig, &["run"], 78).await;
    assert!(err(&output).contains("BASEOS_CLOUDLY_CA"), "{}", err(&output));
    // … and none of it stands in the way of these.
    run(&rig, &["version"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_exits_75_and_a_state_that_cannot_be_used_exits_70() {
    let mut rig = Rig::new();
    rig.start().await;
    let second = run(&rig, &["run"], 75).await;
    let said = err(&second) + &out(&second);
    assert!(
        said.contains("another") && said.contains(&rig.state_dir().display().to_string()),
        "{said}"
    );
    // Another state, the same socket.
    let state = Rig::new().state_dir().display().to_string();
    std::fs::create_dir_all(&state).unwrap();
    run(&rig, &["run", "--state-dir", &state], 75).await;
    rig.is_well().await.unwrap();
    rig.stop().await;
    for name in std::fs::read_dir(rig.state_dir()).unwrap() {
        let path = name.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("state.json")
        {
            std::fs::write(path, "garbage").unwrap();
        }
    }
    if !rig.state_dir().join("state.json").exists() {
        std::fs::write(rig.state_dir().join("state.json"), "garbage").unwrap();
    }
    let damaged = run(&rig, &["run"], 70).await;
    let said = err(&damaged);
    assert!(said.contains("state.json"), "{said}");
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_shows_every_value_with_its_source_and_no_secret() {
    let token = mint(TokenKind::Join);
    let rig = Rig::new()
        .with_cloudly("https://cloudly.example", &token)
        .with_supervisor("http://127.0.0.1:48484");
    let file = rig.dir().join("config.toml");
    std::fs::write(&file, "node_name = \"from-file\"\nlog = \"debug\"\n").unwrap();
    let mut rig = rig.with("BASEOS_CONFIG", &file.display().to_string());
    rig.env.remove("BASEOS_NODE_NAME");
    let shown = out(&run(&rig, &["config", "--log", "warn"], 0).await);
    let line = |key: &str| {
        let mut lines = shown
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(key));
        lines
            .next()
            .unwrap_or_else(|| panic!("{key} in {shown}"))
            .to_owned()
    };
    assert!(
        line("BASEOS_NODE_NAME").contains("from-file") && line("BASEOS_NODE_NAME").contains("config.toml")
    );
    assert!(
        line("BASEOS_LOG").contains("warn") && line("BASEOS_LOG").contains("command line"),
        "{shown}"
    );
    assert!(line("BASEOS_SUPERVISOR_POLL").contains("environment"), "{shown}");
    assert!(line("BASEOS_JOURNAL_BYTES").contains("default"), "{shown}");
    for key in ["BASEOS_JOIN_TOKEN", "BALENA_SUPERVISOR_API_KEY"] {
        assert!(line(key).contains("***"), "{shown}");
    }
    assert!(
        !shown.contains(SUPERVISOR_KEY) && !shown.contains(&token.expose()[15..]),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_journal_exits_1() {
    let rig = Rig::new();
    let file = rig.dir().join("j.jsonl");
    let path = file.display().to_string();
    assert!(err(&run(&rig, &["replay", &path], 1).await).contains(&path));
    for text in ["", "garbage\n", "{}\n", "\u{0}\u{1}"] {
        std::fs::write(&file, text).unwrap();
        let output = run(&rig, &["replay", &path], 1).await;
        assert_eq!(err(&output).lines().count(), 1, "{}", err(&output));
    }
}
