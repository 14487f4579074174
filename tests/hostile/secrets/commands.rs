//! Commands of a user, some with a secret in the wrong place.

use baseos_simulator::harness::Testbed;
use std::collections::BTreeMap;
use std::process::Stdio;
use tokio::process::Command;

/// Everything that must not have a secret in it: the place and the text.
#[derive(Default)]
pub(crate) struct Output(pub(crate) Vec<(String, Vec<u8>)>);

impl Output {
    pub(crate) fn add(&mut self, place: &str, text: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), text.into()));
    }
}

/// Runs a command, compares its exit code, and returns what it printed.
pub(crate) async fn run_command(
    output: &mut Output,
    env: &BTreeMap<String, String>,
    args: &[&str],
    exit_code: i32,
) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_baserunner"))
        .args(args)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = [ended.stdout, ended.stderr].concat();
    let shown = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(ended.status.code(), Some(exit_code), "{args:?}: {shown}");
    output.add(&format!("the output of {}", args[0]), text);
    shown
}

/// Runs all commands, and some with secrets as arguments and in variables that take none.
pub(crate) async fn run_all_commands(
    output: &mut Output,
    env: &BTreeMap<String, String>,
    testbed: &Testbed,
    secrets: [&str; 3],
) {
    let [join, node, key] = secrets;
    run_command(output, env, &["status"], 0).await;
    run_command(output, env, &["status", "--json"], 0).await;
    run_command(output, env, &["doctor"], 1).await;
    run_command(output, env, &["locks"], 0).await;
    run_command(output, env, &["healthcheck"], 0).await;
    let shown = run_command(output, env, &["config"], 0).await;
    assert!(shown.contains("***"), "{shown}");
    run_command(output, env, &["join", &format!("{}!", &join[..63])], 2).await;
    run_command(output, env, &["join", node], 2).await;
    run_command(output, env, &["join", join], 1).await;
    let journal = testbed.state_dir().join("journal.jsonl").display().to_string();
    run_command(output, env, &["replay", &journal], 0).await;
    for (name, value) in [
        ("BASEOS_SUPERVISOR_POLL", join.to_owned()),
        ("BASEOS_LOG", format!("info,{node}")),
        (
            "BASEOS_CLOUDLY_URL",
            format!("https://user:{key}@cloudly.example"),
        ),
        (
            "BALENA_SUPERVISOR_ADDRESS",
            format!("http://127.0.0.1:1/?apikey={key}"),
        ),
        ("BASEOS_LABELS", node.to_owned()),
    ] {
        let mut wrong = env.clone();
        wrong.insert(name.to_owned(), value);
        run_command(output, &wrong, &["config"], 78).await;
        // What the agent can do without does not keep it from starting: it meets the one that runs.
        let needed = name.ends_with("_URL");
        run_command(output, &wrong, &["run"], if needed { 78 } else { 75 }).await;
    }
}
