//! What each state does with what can happen in it: sync, without a clock, one behaviour a test.

mod applying;
mod displaced;
mod enrolled;
mod idle;
mod leases;
mod registering;
mod rollback_needed;
mod rollback_possible;
mod staging;
mod superseded;
mod unenrolled;
mod verifying;
mod waiting;

use crate::lifecycle::effect::{LocalAnswer, Port, RequestId};
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::report;
use crate::lifecycle::tests::world::{
    Action, CommandKind, LocalRequest, MAX_ATTEMPTS, PolicyKind, Reply, View, World, commit, desired_app,
};
use crate::lifecycle::{Effect, Event};
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::{AgentState, UpdateState};
use baseos_interfaces::status::BlockerKind;
use std::time::Duration;

pub(super) fn good(port: Port) -> Action {
    Action::Answer(port, Reply::Good)
}

pub(super) fn play(world: &mut World, actions: &[Action]) {
    for action in actions {
        assert!(
            world.act(*action),
            "{action:?} cannot happen in {:?}",
            world.machine.state()
        );
    }
}

/// Cloudly's answer brings what was desired.
pub(super) fn heard(world: &mut World, number: u8, rule: PolicyKind) {
    play(world, &[Action::Desire(number, rule)]);
    while !world.pending.contains_key(&Port::Cloudly) {
        play(world, &[Action::Elapse]);
    }
    play(world, &[good(Port::Cloudly)]);
}

/// Up to the moment at which the Supervisor has taken the target.
pub(super) fn handed_over(world: &mut World, number: u8, rule: PolicyKind) {
    heard(world, number, rule);
    play(
        world,
        &[
            good(Port::Supervisor),
            good(Port::Supervisor),
            good(Port::Supervisor),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

pub(super) fn proven(number: u8) -> World {
    let mut world = World::enrolled();
    world.act(Action::Desire(number, PolicyKind::Plain));
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(number)));
    world
}

pub(super) fn wire(world: &World) -> UpdateState {
    report::status::update_status(world.machine.shared(), world.machine.state()).state
}

pub(super) fn blockers(world: &World) -> Vec<BlockerKind> {
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    update.blocked_by.iter().map(|blocker| blocker.kind).collect()
}

pub(super) fn left(world: &World, name: &str) -> usize {
    world
        .effects
        .iter()
        .filter(|effect| effect.name() == name)
        .count()
}

pub(crate) fn last_answer(world: &World) -> LocalAnswer {
    let replies = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Reply { answer, .. } => Some((**answer).clone()),
        _ => None,
    });
    replies.expect("somebody asked")
}

/// How the updates to a release ended, as events tell Cloudly.
pub(super) fn outcomes(world: &World, number: u8) -> Vec<String> {
    let heartbeats = world.effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat { heartbeat, .. } => Some(&heartbeat.events),
        _ => None,
    });
    let mut events: Vec<_> = heartbeats.flatten().collect();
    let pending = world.machine.shared().durable.outbox.pending();
    events.extend(&pending);
    let mut seen = std::collections::BTreeSet::new();
    events.retain(|event| seen.insert(event.id.clone()));
    events
        .iter()
        .filter(|event| event.kind == "updateFinished" && event.data["target"] == commit(number))
        .map(|event| event.data["state"].as_str().unwrap().to_owned())
        .collect()
}

pub(super) fn known_bad(world: &World, number: u8) -> bool {
    world
        .machine
        .shared()
        .durable
        .memory
        .known_bad(&commit(number))
        .is_some()
}

/// The agent ends in this step until it waits, and hears of a newer release meanwhile.
pub(super) fn ends_each_time(world: &mut World, state: AgentState, what: &str) {
    let looks = left(world, "Inspect");
    for start in 1..=4 {
        world.act(Action::Restart { reboot: false });
        assert_eq!(world.machine.agent_state(), state);
        let waits = start >= 3;
        assert_eq!(
            blockers(world) == [BlockerKind::RetryBackoff],
            waits,
            "start {start}"
        );
        assert_eq!(left(world, "Inspect"), looks + start.min(2));
    }
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    let reason = update.blocked_by[0].reason.clone().unwrap();
    assert_eq!(reason, format!("the agent ended 4 times while {what}"));
    let mut other = world.clone();
    heard(&mut other, 1, PolicyKind::Plain);
    other.settle();
    assert_eq!(other.target_commit(), Some(commit(1)));
}
