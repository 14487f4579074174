//! What each state does with what can happen in it: sync, without a clock, one behaviour a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/world.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the world"
)]
mod world;

mod applying;
mod enrolled;
mod idle;
mod registering;
mod rollback_needed;
mod staging;
mod unenrolled;
mod verifying;
mod waiting;

use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::{AgentState, UpdateState};
use baseos_interfaces::status::BlockerKind;
use baserunner::lifecycle::effect::{LocalAnswer, Port, RequestId};
use baserunner::lifecycle::event::LocalCall;
use baserunner::lifecycle::report;
use baserunner::lifecycle::{Effect, Event};
use std::time::Duration;
use world::{Action, Errand, Reply, Rule, Sight, Wish, World, commit};

pub(crate) fn good(port: Port) -> Action {
    Action::Answer(port, Reply::Good)
}

pub(crate) fn play(world: &mut World, actions: &[Action]) {
    for action in actions {
        assert!(
            world.act(*action),
            "{action:?} cannot happen in {:?}",
            world.machine.state()
        );
    }
}

/// Cloudly's answer brings what was desired.
pub(crate) fn heard(world: &mut World, number: u8, rule: Rule) {
    play(world, &[Action::Desire(number, rule)]);
    while !world.pending.contains_key(&Port::Cloudly) {
        play(world, &[Action::Elapse]);
    }
    play(world, &[good(Port::Cloudly)]);
}

/// Up to the moment at which the Supervisor has taken the target.
pub(crate) fn handed_over(world: &mut World, number: u8, rule: Rule) {
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

pub(crate) fn proven(number: u8) -> World {
    let mut world = World::enrolled();
    world.act(Action::Desire(number, Rule::Plain));
    world.calm_down();
    assert_eq!(world.target_commit(), Some(commit(number)));
    world
}

pub(crate) fn wire(world: &World) -> UpdateState {
    report::update_status(world.machine.lifecycle(), world.machine.state()).state
}

pub(crate) fn blockers(world: &World) -> Vec<BlockerKind> {
    let update = report::update_status(world.machine.lifecycle(), world.machine.state());
    update.blocked_by.iter().map(|blocker| blocker.kind).collect()
}

pub(crate) fn left(world: &World, name: &str) -> usize {
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
