//! Reports reach Cloudly once, whole and in order, and no more often than Cloudly wants.

use super::states::{good, heard, play};
use super::world::{Action, LocalRequest, PolicyKind, Reply, View, World};
use crate::lifecycle::effect::{Effect, PollRate, Port};
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use std::time::Duration;

const EVENTS: usize = 60;

/// A node that starts with more events than fit into one heartbeat.
fn with_many_events() -> World {
    with_events(&World::enrolled())
}

fn with_events(enrolled: &World) -> World {
    let mut checkpoint = enrolled.disk.clone();
    let now = enrolled.now();
    for number in 0..EVENTS {
        let data = serde_json::json!({ "number": number, "text": "x".repeat(3000) });
        checkpoint
            .durable
            .outbox
            .push("r_earlier1", now, EventKind::UpdateFinished, data);
    }
    World::resumed(checkpoint, 1)
}

/// The heartbeat that is under way.
fn under_way(world: &World) -> Option<Heartbeat> {
    match world.pending.get(&Port::Cloudly) {
        Some((_, Effect::Heartbeat { heartbeat, .. })) => Some((**heartbeat).clone()),
        _ => None,
    }
}

fn next_heartbeat(world: &mut World) -> Heartbeat {
    while under_way(world).is_none() {
        assert!(world.act(Action::Elapse));
    }
    under_way(world).unwrap()
}

fn numbers(heartbeat: &Heartbeat) -> Vec<u64> {
    let numbers = heartbeat.events.iter().map(|event| event.data["number"].as_u64());
    numbers.flatten().collect()
}

#[test]
fn no_heartbeat_is_larger_than_cloudly_said_at_the_registration() {
    let mut world = World::new(true);
    world.limits.max_body_bytes = 20_000;
    play(&mut world, &[good(Port::Cloudly), Action::Observe(View::Actual)]);
    let mut world = with_events(&world);
    let mut arrived = 0;
    while arrived < EVENTS {
        let heartbeat = next_heartbeat(&mut world);
        let bytes = serde_json::to_vec(&heartbeat).unwrap().len();
        assert!(bytes <= 20_000, "{bytes}");
        arrived += numbers(&heartbeat).len();
        play(&mut world, &[good(Port::Cloudly)]);
    }
}

#[test]
fn events_that_do_not_fit_follow_and_a_failure_ticks_nothing_off() {
    let mut world = with_many_events();
    let first = next_heartbeat(&mut world);
    assert!(first.events.len() < EVENTS && !first.events.is_empty());
    play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
    assert_eq!(
        numbers(&next_heartbeat(&mut world)),
        numbers(&first),
        "sent again"
    );
    let mut arrived = Vec::new();
    let mut at = Vec::new();
    while arrived.len() < EVENTS {
        let heartbeat = next_heartbeat(&mut world);
        assert!(serde_json::to_vec(&heartbeat).unwrap().len() <= HEARTBEAT_MAX_BYTES);
        arrived.extend(numbers(&heartbeat));
        at.push(world.now().boot);
        play(&mut world, &[good(Port::Cloudly)]);
    }
    assert_eq!(arrived, (0..EVENTS as u64).collect::<Vec<_>>());
    assert!(at.len() > 2, "{at:?}");
    for pair in at.windows(2) {
        // What is left follows at Cloudly's minimum, not at its interval.
        assert_eq!(pair[1].since(pair[0]), Duration::from_secs(10));
    }
    let next = next_heartbeat(&mut world);
    assert!(numbers(&next).is_empty(), "nothing is sent twice");
}

#[test]
fn an_agent_that_is_killed_after_a_heartbeat_sends_the_same_events_under_the_same_ids() {
    let ids = |heartbeat: &Heartbeat| -> Vec<String> {
        let ids = heartbeat.events.iter().map(|event| event.id.clone());
        ids.collect()
    };
    let mut world = with_many_events();
    let before = next_heartbeat(&mut world);
    world.act(Action::Restart { reboot: true });
    let after = next_heartbeat(&mut world);
    assert_eq!(ids(&before), ids(&after)[..before.events.len()]);
}

#[test]
fn after_an_update_urgent_heartbeats_keep_to_cloudlys_minimum() {
    let mut world = super::states::proven(2);
    let mut at = Vec::new();
    for _ in 0..6 {
        world.act(Action::Request(LocalRequest::Check));
        next_heartbeat(&mut world);
        at.push(world.now().boot);
        play(&mut world, &[good(Port::Cloudly)]);
    }
    for pair in at.windows(2) {
        assert!(pair[1].since(pair[0]) >= Duration::from_secs(10), "{at:?}");
    }
}

#[test]
fn a_supervisor_that_falls_silent_or_answers_again_is_told_at_cloudlys_minimum() {
    let mut world = World::enrolled();
    world.act(Action::Restart { reboot: true });
    let available = |heartbeat: &Heartbeat| heartbeat.status.as_ref()?.supervisor.available;
    for _ in 0..2 {
        assert_eq!(
            available(&next_heartbeat(&mut world)),
            None,
            "it was not looked at"
        );
        play(&mut world, &[good(Port::Cloudly)]);
    }
    for (view, answers) in [(View::Silent, false), (View::Actual, true)] {
        let told = world.now().boot;
        play(&mut world, &[Action::Observe(view)]);
        assert_eq!(available(&next_heartbeat(&mut world)), Some(answers));
        assert_eq!(world.now().boot.since(told), Duration::from_secs(10));
        play(&mut world, &[good(Port::Cloudly)]);
    }
}

/// The rate that the poller was told last.
fn rate(world: &World) -> PollRate {
    let rates = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::SetPollRate { rate } => Some(*rate),
        _ => None,
    });
    rates.unwrap_or_default()
}

#[test]
fn the_supervisor_is_polled_fast_only_while_something_moves() {
    let mut world = World::enrolled();
    heard(&mut world, 2, PolicyKind::NeedsApproval);
    assert_eq!(rate(&world), PollRate::Fast, "it is being checked");
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(rate(&world), PollRate::Slow, "it waits, perhaps for days");
    play(&mut world, &[Action::Request(LocalRequest::Approve)]);
    assert_eq!(rate(&world), PollRate::Fast, "it is applied");
    world.settle();
    assert_eq!(rate(&world), PollRate::Slow, "it is done");
    play(&mut world, &[Action::Observe(View::Working)]);
    assert_eq!(rate(&world), PollRate::Fast, "the Supervisor works by itself");
    world.act(Action::Pass(60));
    world.act(Action::Request(LocalRequest::Status));
    let still_new = world.now().boot;
    while world.now().boot.since(still_new) < Duration::from_secs(120) {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert_eq!(rate(&world), PollRate::Slow, "it shows nothing new");
}
