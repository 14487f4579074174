//! `baserunner replay`: a journal that a real run wrote gives the transitions of that run again, and a damaged one
//! says where it is damaged. `UPDATE_GOLDEN=1` writes the golden output anew, `UPDATE_JOURNAL=1` the journal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use baseos_simulator::harness::{Programs, Stage, StageOptions, Version, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn replay(journal: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baserunner"))
        .arg("replay")
        .arg(journal)
        .env_clear()
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every `a -> b (cause)` of a text, in order.
fn transitions<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        for at in 1..words.len().saturating_sub(2) {
            if words[at] == "->" {
                found.push(words[at - 1..=at + 2].join(" "));
            }
        }
    }
    found
}

fn wanted(variable: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch for people, read by the test alone"
    )]
    std::env::var_os(variable).is_some()
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/replay")
        .join(name)
}

/// Enrols, applies a release, goes back from another; returns the log and the journal.
async fn run(dir: &Path) -> (String, PathBuf) {
    let stage = Stage::start(StageOptions::new(
        Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap(),
    ))
    .await
    .unwrap();
    let bad = Version::new("c3c3c3c3", "3.0.0", "onebox:crashes").with_onebox_restart("no");
    for version in [Version::new("b2b2b2b2", "2.0.0", "onebox:2"), bad] {
        stage.publish(&version).await.unwrap();
    }
    let mut policy = stage.quick_policy();
    policy.max_attempts = 1;
    stage.desire(Some("b2b2b2b2"), policy.clone()).await.unwrap();
    stage
        .wait_agent("2.0.0 is good", LONG, |status| {
            status.update.state.as_str() == "succeeded"
        })
        .await
        .unwrap();
    stage.desire(Some("c3c3c3c3"), policy).await.unwrap();
    stage
        .wait_agent("3.0.0 is rolled back", LONG, |status| {
            status.update.state.as_str() == "rolled-back"
        })
        .await
        .unwrap();
    stage.device.stop_container("baserunner");
    wait_until("the agent stops", LONG, async || {
        match stage.device.pid("baserunner") {
            None => Ok(()),
            Some(pid) => Err(format!("{pid} runs")),
        }
    })
    .await
    .unwrap();
    let journal = dir.join("journal.jsonl");
    std::fs::copy(stage.state_dir().join("journal.jsonl"), &journal).unwrap();
    (stage.device.log_tail("baserunner", usize::MAX), journal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_of_a_run_tells_its_transitions_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, journal) = run(dir.path()).await;
    let logged = transitions(log.lines().filter(|line| line.contains(" INFO ")));
    let replayed = told(&replay(&journal));
    assert_eq!(transitions(replayed.lines()), logged, "{replayed}\n{log}");
    for step in [
        "unenrolled -> registering",
        "applying -> verifying",
        "rollback-needed -> idle",
    ] {
        assert!(
            logged.iter().any(|line| line.starts_with(step)),
            "{step} in {logged:?}"
        );
    }
    assert!(replayed.ends_with("ends in idle\n"), "{replayed}");

    // Cut off in the last line, as after a power cut: all before it counts.
    let text = std::fs::read_to_string(&journal).unwrap();
    let cut = dir.path().join("cut.jsonl");
    std::fs::write(&cut, &text[..text.len() - 20]).unwrap();
    let lines = told(&replay(&cut));
    assert!(lines.contains("the last line is cut off\n"), "{lines}");
    assert!(replayed.starts_with(lines.split("the last line").next().unwrap()));

    // Damaged anywhere else: it says where, and exits 1.
    let mut lines: Vec<_> = text.lines().collect();
    lines[3] = "{\"seq\":garbage";
    std::fs::write(&cut, lines.join("\n")).unwrap();
    let output = replay(&cut);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("line 4 of the journal does not read"), "{said}");

    if wanted("UPDATE_JOURNAL") {
        std::fs::create_dir_all(recording("")).unwrap();
        // What the harness asked while it waited is no part of the story.
        let story = text.lines().filter(|line| !line.contains("\"LocalRequested\""));
        let story: String = story.map(|line| format!("{line}\n")).collect();
        std::fs::write(recording("update.jsonl"), story).unwrap();
    }
}

/// The same journal gives the same story for as long as journals of this form are read.
#[test]
fn recorded_journals_replay_as_they_did() {
    let mut names: Vec<_> = std::fs::read_dir(recording(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for journal in names {
        let replayed = told(&replay(&journal));
        let golden = journal.with_extension("txt");
        if wanted("UPDATE_GOLDEN") {
            std::fs::write(&golden, &replayed).unwrap();
        }
        let before = std::fs::read_to_string(&golden).unwrap();
        assert!(
            before == replayed,
            "{} replays differently; `UPDATE_GOLDEN=1 cargo test --test hostile_replay` writes it anew\n{replayed}",
            journal.display()
        );
    }
}
