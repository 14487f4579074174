use super::*;

const INTERVAL: u32 = 60;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// What each heartbeat (seconds, run, sequence) says.
fn hear(beats: &[(i64, &str, u64)]) -> Vec<Sequence> {
    let mut runs = Runs::default();
    beats
        .iter()
        .map(|(second, run, sequence)| runs.hear(run, *sequence, INTERVAL, at(*second)))
        .collect()
}

use Sequence::{CloneSuspected, Gap, Next, Stale};

#[test]
fn one_run_counts_up_and_missing_numbers_are_a_gap() {
    let said = hear(&[(0, "a", 1), (60, "a", 2), (120, "a", 4), (180, "a", 5)]);
    assert_eq!(said, [Gap, Next, Gap, Next]);
}

#[test]
fn a_heartbeat_that_was_overtaken_is_stale_and_changes_nothing() {
    let said = hear(&[(0, "a", 1), (60, "a", 3), (61, "a", 2), (120, "a", 4)]);
    assert_eq!(said, [Gap, Gap, Stale, Next]);
}

#[test]
fn requests_that_are_left_of_ended_runs_are_stale_and_accuse_nobody() {
    // It has started twice while the network held the last request of each run.
    let said = hear(&[
        (0, "a", 1),
        (60, "a", 2),
        (200, "c", 1),
        (201, "a", 3),
        (202, "b", 1),
        (260, "c", 2),
        (320, "c", 3),
        (380, "c", 4),
    ]);
    // `b` was never heard before, so it counts until `c` has been heard twice in a row.
    assert_eq!(said, [Gap, Next, Gap, Stale, Gap, Stale, Gap, Next]);
}

#[test]
fn two_agents_are_found_with_the_third_heartbeat_that_both_send_beside_each_other() {
    let rounds = [
        (0, "a", 1),
        (30, "b", 1),
        (60, "a", 2),
        (90, "b", 2),
        (120, "a", 3),
        (150, "b", 3),
    ];
    let said = hear(&[&rounds[..], &[(180, "a", 4)]].concat());
    assert_eq!(said, [Gap, Gap, Stale, Next, Stale, Next, CloneSuspected]);
}

#[test]
fn one_of_two_agents_that_starts_again_and_again_does_not_hide_three() {
    let said = hear(&[
        (0, "a", 1),
        (20, "b", 1),
        (40, "c1", 1),
        (60, "a", 2),
        (80, "b", 2),
        (100, "c2", 1),
        (120, "a", 3),
        (140, "b", 3),
        (160, "c3", 1),
        (180, "a", 4),
    ]);
    assert!(said.contains(&CloneSuspected), "{said:?}");
}

#[test]
fn a_cleared_suspicion_comes_back_when_both_go_on() {
    let mut runs = Runs::default();
    let mut said = Vec::new();
    for round in 0..10i64 {
        if round == 5 {
            assert!(said.contains(&CloneSuspected));
            said.clear();
            runs.forget();
        }
        let sequence = round.unsigned_abs() + 1;
        said.push(runs.hear("a", sequence, INTERVAL, at(round * 60)));
        said.push(runs.hear("b", sequence, INTERVAL, at(round * 60 + 30)));
    }
    assert!(!said[..2].contains(&CloneSuspected));
    assert!(said.contains(&CloneSuspected));
}

#[test]
fn a_cleared_suspicion_does_not_come_back_when_one_of_them_is_gone() {
    let mut runs = Runs::default();
    for round in 0..5i64 {
        runs.hear("a", round.unsigned_abs(), INTERVAL, at(round * 60));
        runs.hear("b", round.unsigned_abs(), INTERVAL, at(round * 60 + 30));
    }
    runs.forget();
    for round in 5..20i64 {
        let said = runs.hear("a", round.unsigned_abs(), INTERVAL, at(round * 60));
        assert_ne!(said, CloneSuspected);
    }
}

#[test]
fn more_runs_than_are_kept_take_no_more_memory() {
    let mut runs = Runs::default();
    for number in 0..1000 {
        runs.hear(&format!("r{number}"), 1, INTERVAL, at(number));
    }
    assert_eq!(runs.runs.len(), KEPT);
}

#[test]
fn it_reads_back_as_it_was_written() {
    let mut runs = Runs::default();
    for (second, run) in [(0, "a"), (30, "b"), (60, "a"), (120, "c")] {
        runs.hear(run, 1, INTERVAL, at(second));
    }
    let json = serde_json::to_string(&runs).unwrap();
    assert_eq!(serde_json::from_str::<Runs>(&json).unwrap(), runs);
}
