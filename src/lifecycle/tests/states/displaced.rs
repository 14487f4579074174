//! Another target in the place of the one that was handed over.

use super::*;

/// Release 4 was accepted by the Supervisor, another target was put there, and the agent has started since.
fn returned(view: Option<View>) -> World {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    if let Some(view) = view {
        world.act(Action::Observe(view));
    }
    world.act(Action::Post(2));
    world.act(Action::Restart { reboot: false });
    world.act(good(Port::Supervisor));
    world.act(Action::Observe(View::Actual));
    world
}

#[test]
fn a_release_that_did_not_survive_waits_until_cloudly_is_heard() {
    for view in [None, Some(View::Working), Some(View::Actual)] {
        let mut world = returned(view);
        assert_eq!(world.machine.agent_state(), AgentState::Waiting, "{view:?}");
        assert_eq!(blockers(&world), [BlockerKind::RetryBackoff]);
        assert_eq!(left(&world, "ApplyTarget"), 2, "one for release 2, one for 4");
        let update = report::status::update_status(world.machine.shared(), world.machine.state());
        let error = update.error.unwrap();
        assert_eq!(error.code, "displaced");
        assert!(error.message.contains("did not survive"), "{error:?}");
        world.act(good(Port::Cloudly));
        assert_eq!(world.machine.agent_state(), AgentState::Applying, "{view:?}");
    }
}

#[test]
fn a_release_that_did_not_survive_and_is_withdrawn_is_never_handed_over_again() {
    let mut world = returned(Some(View::Working));
    world.act(Action::Desire(2, PolicyKind::Plain));
    world.settle();
    assert_eq!(left(&world, "ApplyTarget"), 2);
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
    assert_eq!(world.target_commit(), Some(commit(2)));
}

#[test]
fn without_cloudly_a_release_that_did_not_survive_waits_for_a_grace_time() {
    let mut world = returned(None);
    let start = world.now().boot;
    while world.machine.agent_state() == AgentState::Waiting {
        world.act(Action::Answer(Port::Cloudly, Reply::Unavailable));
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    assert!(world.now().boot.since(start) >= Duration::from_secs(300));
}

#[test]
fn an_order_to_go_ahead_does_not_hand_over_what_did_not_survive() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Forced);
    play(&mut world, &[Action::Post(2), Action::Restart { reboot: true }]);
    world.act(good(Port::Supervisor));
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    assert_eq!(left(&world, "ApplyTarget"), 2);
}

#[test]
fn a_release_that_never_survives_is_given_up_within_its_attempts() {
    let mut world = returned(None);
    for _ in 1..MAX_ATTEMPTS {
        world.act(good(Port::Cloudly));
        play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
        world.act(Action::Post(2));
        world.act(Action::Restart { reboot: false });
        world.act(good(Port::Supervisor));
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    let posts = left(&world, "ApplyTarget");
    world.settle();
    assert_eq!(
        left(&world, "ApplyTarget"),
        posts,
        "release 2 is the target already"
    );
    assert_eq!(
        (wire(&world), known_bad(&world, 4)),
        (UpdateState::RolledBack, true)
    );
    assert_eq!(outcomes(&world, 4), ["rolled-back"]);
}

#[test]
fn another_target_during_verification_is_no_verdict_on_the_release() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(
        &mut world,
        &[
            Action::Observe(View::Actual),
            Action::Post(2),
            Action::Observe(View::Actual),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    assert!(!known_bad(&world, 4));
    let events = world.machine.shared().durable.outbox.pending();
    assert!(
        events.iter().any(|event| event.kind == "foreignTarget"),
        "{events:?}"
    );
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Succeeded, Some(commit(4)))
    );
}

#[test]
fn another_target_while_applying_is_found_when_the_supervisor_has_finished() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(
        &mut world,
        &[
            Action::Observe(View::Working),
            Action::Post(2),
            Action::Observe(View::Actual),
            good(Port::Supervisor),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Succeeded, Some(commit(4)))
    );
}

#[test]
fn starts_of_the_agent_during_verification_break_it() {
    for reboot in [false, true] {
        let mut world = proven(2);
        handed_over(&mut world, 4, PolicyKind::Plain);
        world.act(Action::Observe(View::Actual));
        // One belongs to the update; nothing is looked at in between, as when the device goes down at once.
        for _ in 0..3 {
            world.act(Action::Restart { reboot });
            assert_eq!(world.machine.agent_state(), AgentState::Verifying);
        }
        world.act(Action::Restart { reboot });
        assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
        world.settle();
        assert_eq!(
            (wire(&world), world.target_commit()),
            (UpdateState::RolledBack, Some(commit(2)))
        );
    }
}
