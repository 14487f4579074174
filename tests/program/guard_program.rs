//! The guard's program, as `baserunner guard` runs it.

use crate::fixture::{LIMIT, printed};
use baseos_interfaces::rules::GUARD_PROGRAM;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// Of the agent's image.
const USER: u32 = 10001;

/// `baserunner guard` with these flags and variables, from this program.
fn guard(program: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .arg("guard")
        .args(flags)
        .env_clear()
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    command
}

async fn ended(mut command: Command) -> Output {
    let output = tokio::time::timeout(LIMIT, command.output());
    output.await.unwrap().unwrap()
}

/// Without a way to a Supervisor.
async fn run(program: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    ended(guard(program, flags, variables)).await
}

fn agent() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_baserunner"))
}

#[tokio::test]
async fn the_guard_without_a_way_to_the_supervisor_says_so_and_ends() {
    let output = run(agent(), &[], &[]).await;
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(78), "{printed}");
    assert!(
        printed.contains("io.balena.features.supervisor-api=1"),
        "{printed}"
    );
}

#[tokio::test]
async fn flags_and_variables_of_the_guard_reach_its_program() {
    for (flags, variables) in [
        (&["--log-format", "json"][..], &[][..]),
        (&[][..], &[("BASEOS_LOG_FORMAT", "json")][..]),
        (
            &["--log-format", "json"][..],
            &[("BASEOS_LOG_FORMAT", "text")][..],
        ),
    ] {
        let printed = printed(&run(agent(), flags, variables).await);
        let line: serde_json::Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!(line["level"], "ERROR", "{printed}");
    }
}

#[tokio::test]
async fn a_wrong_variable_does_not_keep_the_guard_from_its_work() {
    let variables = [("BASEOS_LOG", "inof"), ("BASEOS_CLOUDLY_URL", "nonsense")];
    let printed = printed(&run(agent(), &[], &variables).await);
    assert!(printed.contains("BASEOS_LOG counts as not set"), "{printed}");
    assert!(printed.contains("supervisor-api"), "{printed}");
}

/// With a way to a Supervisor, which does not answer.
fn guard_in(dir: &Path) -> Command {
    let variables = [
        ("BALENA_SUPERVISOR_ADDRESS", "http://127.0.0.1:9"),
        ("BALENA_SUPERVISOR_API_KEY", "0123456789abcdef"),
    ];
    guard(agent(), &["--state-dir", dir.to_str().unwrap()], &variables)
}

#[tokio::test]
async fn a_state_directory_that_is_none_ends_the_guard_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, problem) in [
        (dir.path().join("missing"), "does not exist"),
        (file.clone(), "is not a directory"),
        (file.join("below"), "is not a directory"),
    ] {
        let output = ended(guard_in(&path)).await;
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(78), "{printed}");
        for part in [path.to_str().unwrap(), problem, "BASEOS_STATE_DIR", "--state-dir"] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
    }
}

/// Its report is not there after a restart, but what it does needs none.
#[tokio::test]
async fn a_state_directory_that_is_not_writable_is_said_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    let mut command = guard_in(dir.path());
    let mut guard = command.uid(USER).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(guard.stderr.take().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("the guard's report cannot be written") {
                return line;
            }
        }
        panic!("it ended");
    };
    let said = tokio::time::timeout(LIMIT, said).await.unwrap();
    assert!(said.contains(dir.path().to_str().unwrap()), "{said}");
    assert!(said.contains("cannot be written by user 10001"), "{said}");
    guard.kill().await.unwrap();
}

#[tokio::test]
async fn an_agent_without_the_guards_program_beside_it_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("baserunner");
    std::fs::copy(agent(), &alone).unwrap();
    let output = run(&alone, &[], &[]).await;
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(70), "{printed}");
    assert!(printed.contains(GUARD_PROGRAM), "{printed}");
}

#[tokio::test]
async fn the_guards_program_itself_takes_no_arguments() {
    let program = agent().with_file_name(GUARD_PROGRAM);
    let output = run(&program, &[], &[]).await;
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
}
