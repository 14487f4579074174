//! The guard's program, as `baserunner guard` runs it.

use crate::fixture::{LIMIT, printed};
use baseos_interfaces::rules::GUARD_PROGRAM;
use std::path::Path;
use std::process::Output;

/// Runs `baserunner guard` with these flags and variables, from this program; the guard has no way to a Supervisor.
async fn run(program: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(program);
    command
        .arg("guard")
        .args(flags)
        .env_clear()
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output());
    output.await.unwrap().unwrap()
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
