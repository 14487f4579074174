//! Services that end: what a look does not show, and what follows from it.
use crate::lifecycle::effect::Port;
use crate::lifecycle::tests::world::{Action, PolicyKind, Reply, View, World, commit};
use crate::lifecycle::timer::Timer;
use baseos_interfaces::states::AgentState;

/// A world whose agent watches release 4, which it has just seen in place, over release 2 that proved itself.
fn watching() -> World {
    let mut world = World::enrolled();
    world.act(Action::Desire(2, PolicyKind::Plain));
    world.settle();
    world.act(Action::Desire(4, PolicyKind::Plain));
    for _ in 0..200 {
        if world.machine.agent_state() == AgentState::Verifying {
            return world;
        }
        if !world.act(Action::Answer(Port::Supervisor, Reply::Good))
            && !world.act(Action::Answer(Port::Cloudly, Reply::Good))
            && !world.act(Action::Answer(Port::LockFiles, Reply::Good))
        {
            world.act(Action::Observe(View::Actual));
            world.act(Action::Elapse);
        }
    }
    panic!("never got there: {:?}", world.machine.state());
}

/// The engine starts it again each time, so every look at it says that it runs.
#[test]
fn a_service_that_exits_again_and_again_makes_its_release_bad() {
    let mut world = watching();
    for _ in 0..2 {
        world.act(Action::Exit);
        world.act(Action::Observe(View::Actual));
        assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    }
    world.act(Action::Exit);
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    // These are the bad release's last words, not the fault of the one that is being put back.
    for _ in 0..5 {
        world.act(Action::Exit);
    }
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(2)));
    let last = world
        .machine
        .shared()
        .durable
        .memory
        .known_bad(&commit(4))
        .cloned();
    assert!(format!("{last:?}").contains("onebox exited"), "{last:?}");
}

/// The healthy time is a time without an exit: one exit makes it begin again, and no more.
#[test]
fn one_exit_restarts_the_healthy_time() {
    let mut world = watching();
    let health = |world: &World| world.machine.shared().timers.get(Timer::Health);
    let before = health(&world);
    world.act(Action::Pass(1));
    world.act(Action::Exit);
    assert!(health(&world) > before, "{:?}", health(&world));
    // The look that shows it ended tells of the same exit.
    world.act(Action::Observe(View::Unhealthy));
    world.act(Action::Observe(View::Actual));
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(4)));
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
}

/// Nobody watches: nothing happens, and it is not counted as an event nobody knew what to do with.
#[test]
fn an_exit_without_an_update_changes_nothing() {
    let mut world = World::enrolled();
    world.act(Action::Exit);
    let (_, step) = world.steps.last().unwrap();
    assert!(
        !step.ignored && step.transitions.is_empty() && step.effects.is_empty(),
        "{step:?}"
    );
}
