//! How fast the machine is: events a second, against the budget of a million. Prints ratios; asserts nothing about
//! time, except when asked to with `--enforce`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on has failed"
)]

#[path = "../tests/support/world.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the benchmark uses its part of the world"
)]
mod world;

use baserunner::lifecycle::time::Millis;
use baserunner::lifecycle::{Event, Machine};
use std::hint::black_box;
use std::time::Instant;
use world::{Action, Rule, Sight, World};

const BUDGET: f64 = 1_000_000.0;
const EVENTS: u32 = 2_000_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The best of five rounds: what the machine can do, not what else the computer did.
fn rate(machine: &Machine, world: &World, events: &[Event]) -> f64 {
    let rounds = (0..5).map(|_| {
        let mut machine = machine.clone();
        let mut stamp = world.now();
        let start = now();
        for at in 0..EVENTS {
            stamp.boot = Millis(stamp.boot.0 + 1);
            let event = &events[at as usize % events.len()];
            black_box(machine.step(black_box(event), stamp));
        }
        f64::from(EVENTS) / start.elapsed().as_secs_f64()
    });
    rounds.fold(0.0, f64::max)
}

fn main() {
    let enforce = std::env::args().any(|arg| arg == "--enforce");
    let mut idle = World::enrolled();
    idle.act(Action::Desire(2, Rule::Plain));
    idle.calm_down();
    let seen = |world: &mut World, sight| {
        world.act(Action::See(sight));
        world.log.last().expect("it was fed").1.clone()
    };
    let calm = [
        seen(&mut idle, Sight::Truth),
        Event::StateWritten { problem: None },
    ];
    let mut busy = idle.clone();
    let looks = [seen(&mut busy, Sight::Truth), seen(&mut busy, Sight::Silent)];
    let mut slow = false;
    for (name, events) in [
        ("idle, nothing new", &calm),
        ("idle, the Supervisor comes and goes", &looks),
    ] {
        let rate = rate(&idle.machine, &idle, events);
        println!(
            "machine: {name}: {:.2} M events/s, {:.1} x the budget",
            rate / 1e6,
            rate / BUDGET
        );
        slow |= rate < BUDGET && name.starts_with("idle, nothing");
    }
    if enforce && slow {
        eprintln!("the machine is below its budget of {BUDGET} events/s");
        std::process::exit(1);
    }
}
