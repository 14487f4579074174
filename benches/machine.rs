//! The throughput of the machine in events per second, against a budget of one million. Only printed, unless
//! `--enforce` is given.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on has failed"
)]

use baserunner::lifecycle::time::{Millis, Stamp};
use baserunner::lifecycle::{Event, Machine};
use baserunner::runtime::journal::Entry;
use baserunner::runtime::replay::replay;
use std::hint::black_box;
use std::time::Instant;

/// The journal of a real run: enrolment, a successful update, and idling.
const JOURNAL: &str = include_str!("../tests/replay/update.jsonl");
const BUDGET: f64 = 1_000_000.0;
const EVENTS: u32 = 2_000_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The best of five rounds, to exclude other load on the computer.
fn rate(machine: &Machine, start: Stamp, events: &[Event]) -> f64 {
    let rounds = (0..5).map(|_| {
        let mut machine = machine.clone();
        let mut stamp = start;
        let started = now();
        for at in 0..EVENTS {
            stamp.boot = Millis(stamp.boot.0 + 1);
            let event = &events[at as usize % events.len()];
            let _ = black_box(machine.step(black_box(event), stamp));
        }
        f64::from(EVENTS) / started.elapsed().as_secs_f64()
    });
    rounds.fold(0.0, f64::max)
}

fn main() {
    let enforce = std::env::args().any(|arg| arg == "--enforce");
    let machine =
        replay(JOURNAL.as_bytes(), |_, _| Vec::new(), |_| {}).expect("the committed journal replays");
    let entries: Vec<Entry> = JOURNAL
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("a journal's line"))
        .collect();
    let last = entries.last().expect("the journal is not empty").now;
    let mut observed = entries.iter().rev().map(|entry| &entry.event);
    let seen = observed
        .find(|event| matches!(event, Event::SupervisorObserved(_)))
        .expect("the Supervisor was observed");
    let unavailable = r#"{"SupervisorObserved":{"Err":{"kind":"Unavailable","message":"no answer"}}}"#;
    let unavailable: Event = serde_json::from_str(unavailable).expect("an event");
    let idle = [seen.clone(), Event::StateWritten { problem: None }];
    let changes = [seen.clone(), unavailable];
    let mut too_slow = false;
    for (name, events, has_budget) in [
        ("idle, nothing changes", &idle, true),
        ("idle, the Supervisor alternates", &changes, false),
    ] {
        let rate = rate(&machine, last, events);
        println!(
            "machine: {name}: {:.2} M events/s, {:.1} x the budget",
            rate / 1e6,
            rate / BUDGET
        );
        too_slow |= has_budget && rate < BUDGET;
    }
    if enforce && too_slow {
        eprintln!("the machine is below its budget of {BUDGET} events/s");
        std::process::exit(1);
    }
}
