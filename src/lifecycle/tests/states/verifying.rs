use super::*;

#[test]
fn it_must_stay_healthy_and_interruptions_begin_the_time_anew() {
    let mut world = World::enrolled();
    handed_over(&mut world, 2, PolicyKind::Plain);
    play(&mut world, &[Action::Observe(View::Actual)]);
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    play(
        &mut world,
        &[Action::Observe(View::Unhealthy), Action::Observe(View::Actual)],
    );
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Verifying,
        "one break is forgiven"
    );
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn three_breaks_make_a_release_bad_and_are_kept_as_evidence() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::ReportOnly);
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    assert_eq!(wire(&world), UpdateState::RollbackNeeded);
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    assert!(
        update
            .error
            .unwrap()
            .evidence
            .contains(&"onebox: exited".to_owned())
    );
    assert_eq!(
        left(&world, "ApplyTarget"),
        2,
        "the policy says report, so nobody goes back by himself"
    );
}

#[test]
fn a_silent_supervisor_does_not_count_against_the_release() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(
        &mut world,
        &[Action::Observe(View::Actual), Action::Observe(View::Silent)],
    );
    for _ in 0..100 {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn an_agent_that_was_away_for_long_watches_before_it_judges() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[Action::Observe(View::Actual)]);
    world.stay_away(Duration::from_secs(7200));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert_eq!(world.target_commit(), Some(commit(4)));
}

#[test]
fn a_superseded_release_is_verified_again_when_desired_again() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[Action::Observe(View::Actual)]);
    heard(&mut world, 3, PolicyKind::NoSlot);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    heard(&mut world, 4, PolicyKind::Plain);
    let good_release = world.machine.shared().durable.proven.clone();
    assert_eq!(good_release.map(|good| good.commit), Some(commit(2)));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}
