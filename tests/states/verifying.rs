use crate::*;

#[test]
fn it_must_stay_healthy_and_interruptions_begin_the_time_anew() {
    let mut world = World::enrolled();
    handed_over(&mut world, 2, Rule::Plain);
    play(&mut world, &[Action::See(Sight::Truth)]);
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    play(&mut world, &[Action::See(Sight::Ill), Action::See(Sight::Truth)]);
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Verifying,
        "one break is forgiven"
    );
    world.calm_down();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn three_breaks_are_no_health_and_the_evidence_is_kept() {
    let mut world = proven(2);
    handed_over(&mut world, 4, Rule::ReportOnly);
    for _ in 0..3 {
        play(&mut world, &[Action::See(Sight::Truth), Action::See(Sight::Ill)]);
    }
    assert_eq!(wire(&world), UpdateState::RollbackNeeded);
    let update = report::update_status(world.machine.lifecycle(), world.machine.state());
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
fn a_silent_supervisor_proves_nothing_against_the_release() {
    let mut world = proven(2);
    handed_over(&mut world, 4, Rule::Plain);
    play(
        &mut world,
        &[Action::See(Sight::Truth), Action::See(Sight::Silent)],
    );
    for _ in 0..100 {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.calm_down();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn an_agent_that_was_away_for_long_watches_before_it_judges() {
    let mut world = proven(2);
    handed_over(&mut world, 4, Rule::Plain);
    play(&mut world, &[Action::See(Sight::Truth)]);
    world.stay_away(Duration::from_secs(7200));
    world.calm_down();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert_eq!(world.target_commit(), Some(commit(4)));
}

#[test]
fn a_release_in_watch_that_gave_way_is_watched_again_when_it_is_wanted_again() {
    let mut world = proven(2);
    handed_over(&mut world, 4, Rule::Plain);
    play(&mut world, &[Action::See(Sight::Truth)]);
    heard(&mut world, 3, Rule::NoSlot);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    heard(&mut world, 4, Rule::Plain);
    let good_release = world.machine.lifecycle().book.good.clone();
    assert_eq!(good_release.map(|good| good.commit), Some(commit(2)));
    world.calm_down();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}
