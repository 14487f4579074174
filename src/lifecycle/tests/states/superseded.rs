//! A release that was superseded after the Supervisor was handed it.

use super::*;

/// Release 4 was handed over; release 3 is desired instead and has to wait for its turn.
fn superseded() -> World {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    heard(&mut world, 3, PolicyKind::NoSlot);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    world
}

#[test]
fn is_left_when_it_runs_badly_while_the_newer_one_waits() {
    let mut world = superseded();
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(2)));
    assert!(known_bad(&world, 4));
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Waiting,
        "for the newer one's turn"
    );
    assert_eq!(outcomes(&world, 4), ["superseded"], "one end is told");
}

#[test]
fn is_left_when_its_service_exits_again_and_again() {
    let mut world = superseded();
    world.act(Action::Observe(View::Actual));
    for _ in 0..3 {
        play(&mut world, &[Action::Exit, Action::Observe(View::Actual)]);
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
}

#[test]
fn becomes_the_release_to_go_back_to_when_it_stays_healthy() {
    let mut world = superseded();
    world.act(Action::Observe(View::Actual));
    for _ in 0..10 {
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        world.act(Action::Elapse);
    }
    assert!(world.machine.shared().durable.is_proven(&commit(4)));
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    assert_eq!(outcomes(&world, 4), ["superseded"]);
}

#[test]
fn is_no_release_to_go_back_to_when_a_last_look_shows_it_broken() {
    let mut world = superseded();
    play(
        &mut world,
        &[Action::Observe(View::Actual), Action::Turn(View::Unhealthy)],
    );
    for _ in 0..10 {
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        world.act(Action::Elapse);
    }
    assert!(!world.machine.shared().durable.is_proven(&commit(4)));
}

#[test]
fn is_gone_back_from_when_the_newer_one_is_withdrawn_too() {
    let mut world = superseded();
    world.act(Action::Desire(0, PolicyKind::Plain));
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(2)));
    assert_eq!(outcomes(&world, 4), ["superseded"]);
    assert_eq!(outcomes(&world, 3), ["cancelled"]);
}

#[test]
fn asks_no_gate_when_it_is_desired_again() {
    let mut world = superseded();
    heard(&mut world, 4, PolicyKind::NoSlot);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Applying,
        "the Supervisor is at it, whatever the gate says"
    );
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn before_the_first_look_the_newer_one_is_staged() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    let posts = left(&world, "ApplyTarget");
    world.act(Action::Restart { reboot: false });
    heard(&mut world, 1, PolicyKind::Plain);
    assert_eq!(world.machine.agent_state(), AgentState::Staging);
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Succeeded, Some(commit(1)))
    );
    assert_eq!(
        left(&world, "ApplyTarget"),
        posts + 1,
        "nobody went back to release 2 first"
    );
    assert_eq!(outcomes(&world, 4), ["superseded"]);
}

#[test]
fn has_one_end_when_the_old_release_is_desired_again() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    heard(&mut world, 2, PolicyKind::Plain);
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(2)));
    assert_eq!(outcomes(&world, 4).len(), 1, "{:?}", outcomes(&world, 4));
}

#[test]
fn is_gone_back_from_without_being_called_withdrawn_when_the_newer_one_is_known_to_be_bad() {
    let mut world = proven(2);
    world.act(Action::Desire(3, PolicyKind::Plain));
    world.settle();
    assert!(known_bad(&world, 3));
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Actual));
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    heard(&mut world, 3, PolicyKind::Plain);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(summary.contains("is desired in its place"), "{summary}");
    world.settle();
    assert_eq!(outcomes(&world, 4), ["superseded"]);
    assert_eq!(
        (world.machine.agent_state(), world.target_commit()),
        (AgentState::Failed, Some(commit(2)))
    );
}
