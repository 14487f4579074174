//! What people type and what they see of it, some of it typed in the wrong place.

use baseos_simulator::harness::Stage;
use std::collections::BTreeMap;
use std::process::Stdio;
use tokio::process::Command;

/// All that somebody could have read, by where.
#[derive(Default)]
pub struct Seen(pub Vec<(String, Vec<u8>)>);

impl Seen {
    pub fn add(&mut self, place: &str, text: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), text.into()));
    }
}

/// Runs a command and compares its exit code; what it printed has been seen.
pub async fn cli(seen: &mut Seen, env: &BTreeMap<String, String>, args: &[&str], code: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_baserunner"))
        .args(args)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {shown}");
    seen.add(&format!("the output of {}", args[0]), text);
    shown
}

/// What people type, some of it in the wrong place.
pub async fn people(seen: &mut Seen, env: &BTreeMap<String, String>, stage: &Stage, secrets: [&str; 3]) {
    let [join, node, key] = secrets;
    cli(seen, env, &["status"], 0).await;
    cli(seen, env, &["status", "--json"], 0).await;
    cli(seen, env, &["doctor"], 1).await;
    cli(seen, env, &["locks"], 0).await;
    cli(seen, env, &["healthcheck"], 0).await;
    let shown = cli(seen, env, &["config"], 0).await;
    assert!(shown.contains("***"), "{shown}");
    cli(seen, env, &["join", &format!("{}!", &join[..63])], 2).await;
    cli(seen, env, &["join", node], 2).await;
    cli(seen, env, &["join", join], 1).await;
    let journal = stage.state_dir().join("journal.jsonl").display().to_string();
    cli(seen, env, &["replay", &journal], 0).await;
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
        cli(seen, &wrong, &["config"], 78).await;
        cli(seen, &wrong, &["run"], 78).await;
    }
}
