//! Agents with one identity over a bad network, simulated: how soon clones are found, and that nobody else is accused.

use super::*;
use std::collections::BTreeMap;

const SEEDS: u64 = 250;
const INTERVAL: u32 = 60;
/// Milliseconds.
const PERIOD: u64 = 60_000;
const CALL_TIMEOUT: u64 = 30_000;

/// How the world is.
#[derive(Clone, Copy)]
struct World {
    agents: u64,
    /// Of 1,000 requests so many are held by the network, for up to an interval.
    held: u64,
    /// Of 1,000 answers so many are lost: the agent sends its next heartbeat after a back-off.
    lost: u64,
    /// Of 1,000 heartbeats so many are followed by a restart of the agent, perhaps with the request under way.
    restarts: u64,
}

/// The heartbeats as they come to Cloudly: time, run, sequence number.
fn heartbeats(world: World, intervals: u64, random: &mut fastrand::Rng) -> Vec<(u64, String, u64)> {
    let mut arrivals = BTreeMap::new();
    for agent in 0..world.agents {
        let (mut now, mut run, mut sequence) = (random.u64(0..PERIOD), 0, 0);
        while now < intervals * PERIOD {
            sequence += 1;
            let delay = if random.u64(0..1000) < world.held {
                random.u64(1000..PERIOD)
            } else {
                random.u64(5..500)
            };
            let id = format!("agent {agent} run {run}");
            arrivals.insert((now + delay, arrivals.len()), (id, sequence));
            if random.u64(0..1000) < world.restarts {
                // Killed, with or without the answer, and started again.
                now += random.u64(0..CALL_TIMEOUT) + random.u64(500..5000);
                (run, sequence) = (run + 1, 0);
                continue;
            }
            let answered = delay < CALL_TIMEOUT && random.u64(0..1000) >= world.lost;
            let jittered = random.u64(PERIOD * 8 / 10..PERIOD * 12 / 10);
            now += if answered {
                jittered
            } else {
                CALL_TIMEOUT + random.u64(1000..20_000)
            };
        }
    }
    let in_order = arrivals.into_iter();
    in_order
        .map(|((at, _), (run, sequence))| (at, run, sequence))
        .collect()
}

/// How many intervals after the second agent was first heard a clone is suspected.
fn found_after(world: World, intervals: u64, seed: u64) -> Option<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut runs = Runs::default();
    let mut agents = std::collections::BTreeSet::new();
    let mut second = None;
    for (at, run, sequence) in heartbeats(world, intervals, &mut random) {
        agents.insert(run.split(" run").next().unwrap_or_default().to_owned());
        if agents.len() == 2 {
            second.get_or_insert(at);
        }
        let now = Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap();
        if runs.hear(&run, sequence, INTERVAL, now) == Sequence::CloneSuspected {
            let since = at - second.unwrap_or(at);
            return Some(f64::from(u32::try_from(since).unwrap()) / f64::from(INTERVAL * 1000));
        }
    }
    None
}

#[test]
fn two_three_and_five_clones_are_found_within_five_intervals() {
    for agents in [2, 3, 5] {
        for (held, lost) in [(0, 0), (0, 200), (50, 50)] {
            let world = World {
                agents,
                held,
                lost,
                restarts: 0,
            };
            let mut found: Vec<f64> = (0..SEEDS)
                .map(|seed| {
                    let found = found_after(world, 30, seed);
                    found.unwrap_or_else(|| panic!("{agents} agents, seed {seed}: not found"))
                })
                .collect();
            found.sort_by(f64::total_cmp);
            let (median, last) = (found[found.len() / 2], found[found.len() - 1]);
            println!(
                "{agents} agents, held {held}/1000, lost {lost}/1000: median {median:.1} intervals, at most {last:.1}"
            );
            assert!(last <= 5.0, "{agents} agents: {last} intervals");
        }
    }
}

#[test]
fn clones_that_start_again_now_and_then_are_found_too() {
    for agents in [2, 3, 5] {
        let world = World {
            agents,
            held: 20,
            lost: 50,
            restarts: 100,
        };
        for seed in 0..SEEDS {
            let found = found_after(world, 60, seed);
            assert!(found.is_some(), "{agents} agents, seed {seed}: not found");
        }
    }
}

#[test]
fn one_agent_is_never_accused_whatever_the_network_does_and_however_often_it_starts() {
    for restarts in [0, 50, 300, 900] {
        for (held, lost) in [(0, 0), (0, 300), (100, 100), (500, 300)] {
            let world = World {
                agents: 1,
                held,
                lost,
                restarts,
            };
            for seed in 0..SEEDS {
                let found = found_after(world, 200, seed);
                assert_eq!(
                    found, None,
                    "{restarts} restarts, {held} held, {lost} lost of 1000, seed {seed}"
                );
            }
        }
    }
}
