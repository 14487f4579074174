//! `baserunner replay`: the journal of a real run gives the same transitions again, and a damaged one says where.
//! `UPDATE_GOLDEN=1` writes the golden output again, `UPDATE_JOURNAL=1` the journal.

use crate::support::{UPDATE_LIMIT, update_and_roll_back};
use baseos_simulator::harness::{Programs, Testbed, TestbedOptions, ensure, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn replay(journal: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_baserunner"))
        .arg("replay")
        .arg(journal)
        .env_clear()
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Each `a -> b (cause)` of a text, in order.
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

fn is_set(variable: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "an option of this test, which has no configuration"
    )]
    std::env::var_os(variable).is_some()
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/replay")
        .join(name)
}

/// Enrols, applies a release, rolls another back; returns the log and the journal.
async fn run(dir: &Path) -> (String, PathBuf) {
    let programs = Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap();
    let testbed = Testbed::start(TestbedOptions::new(programs)).await.unwrap();
    update_and_roll_back(&testbed).await;
    testbed.device.stop_container("baserunner");
    wait_until("the agent has stopped", UPDATE_LIMIT, async || {
        let pid = testbed.device.pid("baserunner");
        ensure(pid.is_none(), || format!("{pid:?} runs"))
    })
    .await
    .unwrap();
    let journal = dir.join("journal.jsonl");
    std::fs::copy(testbed.state_dir().join("journal.jsonl"), &journal).unwrap();
    (testbed.device.log_tail("baserunner", usize::MAX), journal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_of_a_run_replays_its_transitions() {
    let dir = tempfile::tempdir().unwrap();
    let (log, journal) = run(dir.path()).await;
    let logged = transitions(log.lines().filter(|line| line.contains(" INFO ")));
    let replayed = stdout(&replay(&journal));
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

    // Without the end of the last line, as after a power cut: the lines before it count.
    let text = std::fs::read_to_string(&journal).unwrap();
    let cut = dir.path().join("cut.jsonl");
    std::fs::write(&cut, &text[..text.len() - 20]).unwrap();
    let lines = stdout(&replay(&cut));
    assert!(lines.contains("the last line is cut off\n"), "{lines}");
    assert!(replayed.starts_with(lines.split("the last line").next().unwrap()));

    // Damaged elsewhere: it says where, and exits 1.
    let mut lines: Vec<_> = text.lines().collect();
    lines[3] = "{\"seq\":garbage";
    std::fs::write(&cut, lines.join("\n")).unwrap();
    let output = replay(&cut);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed.contains("line 4 of the journal does not read"),
        "{printed}"
    );

    if is_set("UPDATE_JOURNAL") {
        std::fs::create_dir_all(recording("")).unwrap();
        // Without the requests of the test, which polled the agent's status.
        let lines = text.lines().filter(|line| !line.contains("\"LocalRequested\""));
        let journal: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(recording("update.jsonl"), journal).unwrap();
    }
}

/// Journals of this form replay the same way in every version.
#[test]
fn recorded_journals_replay_as_before() {
    let mut names: Vec<_> = std::fs::read_dir(recording(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for journal in names {
        let replayed = stdout(&replay(&journal));
        let golden = journal.with_extension("txt");
        if is_set("UPDATE_GOLDEN") {
            std::fs::write(&golden, &replayed).unwrap();
        }
        let before = std::fs::read_to_string(&golden).unwrap();
        assert!(
            before == replayed,
            "{} replays differently; `UPDATE_GOLDEN=1 cargo test --test hostile replay` writes it again\n{replayed}",
            journal.display()
        );
    }
}
