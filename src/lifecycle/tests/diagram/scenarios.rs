//! What takes more than the walk's actions: Cloudly's suspicion of a clone, another join token in the configuration, and
//! the guard of the agent's own update.

use crate::lifecycle::effect::Port;
use crate::lifecycle::tests::states::{good, handed_over, heard, play, proven};
use crate::lifecycle::tests::world::{Action, PolicyKind, Reply, View, World};
use baseos_interfaces::states::AgentState;

/// Worlds in which it has happened.
pub(super) fn scenarios() -> Vec<World> {
    let mut worlds = vec![
        suspicion_cleared(proven(2), 4),
        restored_by_the_guard(|_| {}),
        restored_by_the_guard(not_proven_in_time),
        unknown_to_cloudly(),
    ];
    worlds.iter_mut().for_each(World::settle);
    worlds
}

/// A release is desired that may not be begun, until an operator says that there is no clone.
fn suspicion_cleared(mut world: World, number: u8) -> World {
    play(&mut world, &[Action::Restart { reboot: false }]);
    heard(&mut world, number, PolicyKind::Plain);
    world.clone_suspected = true;
    next_answer(&mut world, Reply::Good);
    play(
        &mut world,
        &[Action::Observe(View::Actual), good(Port::Supervisor)],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    world.clone_suspected = false;
    next_answer(&mut world, Reply::Good);
    world
}

fn next_answer(world: &mut World, reply: Reply) {
    while !world.pending.contains_key(&Port::Cloudly) {
        play(world, &[Action::Elapse]);
    }
    play(world, &[Action::Answer(Port::Cloudly, reply)]);
}

/// Cloudly does not know the node any more, whose configuration holds another join token by now.
fn unknown_to_cloudly() -> World {
    let mut world = proven(2);
    world.configure_join_token(2);
    play(&mut world, &[Action::Restart { reboot: false }]);
    next_answer(&mut world, Reply::Refused);
    assert_eq!(world.machine.agent_state(), AgentState::Registering);
    world
}

/// The guard has put the proven release back after the new agent did not prove itself; before that, `until` happens.
fn restored_by_the_guard(until: impl FnOnce(&mut World)) -> World {
    let mut world = World::guarded();
    world.act(Action::Desire(1, PolicyKind::Plain));
    world.settle();
    handed_over(&mut world, 2, PolicyKind::ReportOnly);
    until(&mut world);
    world.guard_restores();
    world
}

/// The new agent runs, Cloudly does not hear it, and it gives the release up itself.
fn not_proven_in_time(world: &mut World) {
    play(
        world,
        &[Action::Restart { reboot: false }, Action::Observe(View::Actual)],
    );
    while world.machine.agent_state() != AgentState::RollbackNeeded {
        world.act(Action::Answer(Port::Cloudly, Reply::Unavailable));
        play(world, &[Action::Elapse]);
    }
}
