//! The command line, as scripts use it: exit codes and output, with and without a running agent.

use crate::support::SUPERVISOR_KEY;
use crate::support::agent::{AgentProcess, mint};
use baseos_interfaces::token::TokenKind;
use serde_json::Value;
use std::process::Output;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command and compares its exit code.
async fn run(agent: &AgentProcess, args: &[&str], exit_code: i32) -> Output {
    let output = agent.run_command(args).await;
    assert_eq!(
        output.status.code(),
        Some(exit_code),
        "{args:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agent_every_command_says_that_it_is_not_running() {
    let agent = AgentProcess::new();
    let version = run(&agent, &["version"], 0).await;
    assert!(stdout(&version).starts_with(&format!("baserunner {} ", env!("CARGO_PKG_VERSION"))));
    assert!(stdout(&run(&agent, &["--version"], 0).await).contains(env!("CARGO_PKG_VERSION")));
    let help = stdout(&run(&agent, &["--help"], 0).await);
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
    let status = run(&agent, &["status"], 1).await;
    assert!(
        stdout(&status).starts_with("The agent is not running."),
        "{}",
        stdout(&status)
    );
    for word in ["state", "supervisor", "cloudly", "BASEOS_CLOUDLY_URL"] {
        assert!(stdout(&status).contains(word), "{word}: {}", stdout(&status));
    }
    let status: Value = serde_json::from_str(&stdout(&run(&agent, &["status", "--json"], 1).await)).unwrap();
    assert_eq!(
        (
            &status["agentRunning"],
            status["checks"].as_array().unwrap().len()
        ),
        (&false.into(), 3)
    );
    run(&agent, &["doctor"], 1).await;
    for args in [
        &["locks"][..],
        &["healthcheck"],
        &["join", mint(TokenKind::Join).expose()],
    ] {
        let output = run(&agent, args, 1).await;
        assert!(
            stderr(&output).contains("The agent is not running"),
            "{}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_the_state_of_a_running_agent() {
    let mut agent = AgentProcess::started().await;
    let status = stdout(&run(&agent, &["status"], 0).await);
    assert_eq!(
        status.lines().next(),
        Some("Not enrolled: waiting for a join token."),
        "{status}"
    );
    let status: Value = serde_json::from_str(&stdout(&run(&agent, &["status", "--json"], 0).await)).unwrap();
    assert_eq!(status["state"], "unenrolled");
    let doctor = stdout(&run(&agent, &["doctor"], 1).await);
    assert!(
        doctor.contains("✗") && doctor.contains("→") && doctor.contains("baserunner join"),
        "{doctor}"
    );
    assert!(stdout(&run(&agent, &["locks"], 0).await).contains("No locks."));
    let healthy = run(&agent, &["healthcheck"], 0).await;
    assert_eq!(stdout(&healthy) + &stderr(&healthy), "");
    assert!(!doctor.contains('\u{1b}'), "colours only on a terminal");
    // The option has the same effect as the variable.
    let run_dir = agent.run_dir().display().to_string();
    let mut other = AgentProcess::new();
    run(&other, &["--run-dir", &run_dir, "healthcheck"], 0).await;
    other.env.remove("BASEOS_RUN_DIR");
    run(&other, &["healthcheck", "--run-dir", &run_dir], 0).await;
    assert_eq!(agent.stop().await, Some(0));
    run(&agent, &["healthcheck"], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_arguments_exit_2_and_a_mistyped_token_is_not_printed() {
    let agent = AgentProcess::new();
    for args in [
        &["--no-such"][..],
        &["levitate"],
        &["join"],
        &["replay"],
        &["--log", "inof"],
        &["status", "--jsn"],
    ] {
        let output = run(&agent, args, 2).await;
        assert!(
            !stderr(&output).is_empty() && stdout(&output).is_empty(),
            "{args:?}"
        );
    }
    let token = mint(TokenKind::Join);
    let mistyped = format!("{}!", &token.expose()[..63]);
    let output = run(&agent, &["join", &mistyped], 2).await;
    assert!(
        stderr(&output).contains("not a join token"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains(&mistyped[15..]), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_exits_78_and_names_key_value_and_what_is_right() {
    for (name, value, right, needed) in [
        ("BASEOS_CLOUDLY_URL", "cloudly.example", "https://", true),
        ("BASEOS_ALLOW_HTTP", "maybe", "1 or 0", true),
        ("BASEOS_SUPERVISOR_POLL", "sometimes", "30s", false),
        ("BASEOS_LOG_FORMAT", "xml", "json", false),
        ("BASEOS_AGENT_URL", "ftp://x", "unix://", false),
        ("BASEOS_JOURNAL_BYTES", "lots", "MiB", false),
        ("BALENA_APP_ID", "one", "number", false),
    ] {
        let agent = AgentProcess::new().with(name, value);
        let all = [&["config"][..], &["run"], &["status"]];
        for args in all.into_iter().take(if needed { 3 } else { 1 }) {
            let output = run(&agent, args, 78).await;
            let printed = stderr(&output);
            assert!(
                printed.contains(name) && printed.contains(value) && printed.contains(right),
                "{printed}"
            );
        }
    }
    // An error that only shows when the value is used.
    let agent = AgentProcess::new()
        .with("BASEOS_CLOUDLY_URL", "https://cloudly.example")
        .with("BASEOS_CLOUDLY_CA", "/no/such.pem");
    let output = run(&agent, &["run"], 78).await;
    assert!(
        stderr(&output).contains("BASEOS_CLOUDLY_CA"),
        "{}",
        stderr(&output)
    );
    run(&agent, &["version"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optional_setting_that_is_not_right_is_an_issue_and_the_agent_runs() {
    let mut agent = AgentProcess::new()
        .with("BASEOS_JOURNAL_BYTES", "lots")
        .with("BASEOS_SERVICE", "a b");
    agent.start().await;
    let issues = agent.api().status().await.unwrap().issues;
    let found = issues.iter().find(|issue| issue.code == "settingsInvalid");
    let detail = found.unwrap().detail.as_deref().unwrap();
    assert!(
        detail.contains("BASEOS_JOURNAL_BYTES = `lots`") && detail.contains("BASEOS_SERVICE = `a b`"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_exits_75_and_an_unusable_state_exits_70() {
    let mut agent = AgentProcess::started().await;
    let second = run(&agent, &["run"], 75).await;
    let printed = stderr(&second) + &stdout(&second);
    assert!(
        printed.contains("another") && printed.contains(&agent.state_dir().display().to_string()),
        "{printed}"
    );
    // Another state directory, the same socket.
    let other = AgentProcess::new();
    let state_dir = other.state_dir().display().to_string();
    run(&agent, &["run", "--state-dir", &state_dir], 75).await;
    agent.check_health().await.unwrap();
    agent.stop().await;
    for name in ["state.json", "state.json.previous"] {
        std::fs::write(agent.state_dir().join(name), "garbage").unwrap();
    }
    let damaged = run(&agent, &["run"], 70).await;
    let printed = stderr(&damaged);
    assert!(printed.contains("state.json"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_shows_every_value_with_its_source_and_no_secret() {
    let token = mint(TokenKind::Join);
    let agent = AgentProcess::new()
        .with_cloudly("https://cloudly.example", &token)
        .with_supervisor("http://127.0.0.1:48484");
    let file = agent.dir().join("config.toml");
    std::fs::write(&file, "node_name = \"from-file\"\nlog = \"debug\"\n").unwrap();
    let mut agent = agent.with("BASEOS_CONFIG", &file.display().to_string());
    agent.env.remove("BASEOS_NODE_NAME");
    let shown = stdout(&run(&agent, &["config", "--log", "warn"], 0).await);
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
async fn replay_of_a_file_that_is_not_a_journal_exits_1() {
    let agent = AgentProcess::new();
    let file = agent.dir().join("j.jsonl");
    let path = file.display().to_string();
    assert!(stderr(&run(&agent, &["replay", &path], 1).await).contains(&path));
    for text in ["", "garbage\n", "{}\n", "\u{0}\u{1}"] {
        std::fs::write(&file, text).unwrap();
        let output = run(&agent, &["replay", &path], 1).await;
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_join_token_is_warned_of_and_shown_by_doctor() {
    let mut agent = AgentProcess::new()
        .with("BASEOS_CLOUDLY_URL", "https://cloudly.example")
        .with("BASEOS_JOIN_TOKEN", "szj_typo");
    agent.start().await;
    let doctor = stdout(&run(&agent, &["doctor"], 1).await);
    assert!(
        doctor.contains("not enrolled: the join token is malformed: a token has 64 characters"),
        "{doctor}"
    );
    let status = stdout(&run(&agent, &["status"], 0).await);
    assert!(
        status.contains("was it copied whole? A new join token is needed."),
        "{status}"
    );
    let log = agent.log();
    let warned = |line: &str| line.contains("WARN") && line.contains("is malformed and not used");
    assert!(log.lines().any(warned) && !log.contains("szj_typo"), "{log}");
}
