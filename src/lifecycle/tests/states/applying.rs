use super::*;

fn error_code(world: &World) -> String {
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    update.error.unwrap().code.to_string()
}

#[test]
fn a_release_whose_containers_were_not_replaced_fails_and_is_gone_back_from() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[Action::Observe(View::Unreplaced)]);
    assert_eq!(
        (wire(&world), error_code(&world)),
        (UpdateState::RollbackNeeded, "imageNotReplaced".to_owned())
    );
    world.settle();
    assert_eq!(
        (wire(&world), error_code(&world)),
        (UpdateState::Failed, "imageNotReplaced".to_owned())
    );
    assert_eq!(
        world.target_commit(),
        Some(commit(2)),
        "the proven release is back"
    );
}

#[test]
fn a_release_whose_containers_were_not_replaced_fails_where_nobody_goes_back() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::ReportOnly);
    play(&mut world, &[Action::Observe(View::Unreplaced)]);
    assert_eq!(
        (wire(&world), error_code(&world)),
        (UpdateState::Failed, "imageNotReplaced".to_owned())
    );
    assert_eq!(left(&world, "ApplyTarget"), 2);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(
        summary.contains("does not run, although the Supervisor calls it applied"),
        "{summary}"
    );
    let status = report::status::node_status(world.machine.shared(), world.machine.state());
    let release = status.release.unwrap();
    assert_eq!(release.version, None, "the version is not what runs");
    assert_eq!(release.services["onebox"].image, None);
}

#[test]
fn a_restart_between_the_post_and_the_look_does_not_forget_what_ran_before() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::ReportOnly);
    play(&mut world, &[Action::Restart { reboot: false }]);
    play(&mut world, &[good(Port::Supervisor)]);
    play(&mut world, &[Action::Observe(View::Unreplaced)]);
    assert_eq!(wire(&world), UpdateState::Failed);
}

#[test]
fn after_a_crash_it_looks_before_it_hands_over_again() {
    let mut world = proven(2);
    heard(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
    assert_eq!(left(&world, "ApplyTarget"), 2, "one for release 2, one for 4");
    // The Supervisor took it, but the agent died before it heard so.
    play(&mut world, &[good(Port::Supervisor)]);
    world.act(Action::Restart { reboot: false });
    world.settle();
    assert_eq!(left(&world, "ApplyTarget"), 2);
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn reports_progress_only_as_observed() {
    let mut world = World::enrolled();
    handed_over(&mut world, 2, PolicyKind::Plain);
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    world.act(Action::Observe(View::Working));
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    assert_eq!(update.progress_percent, Some(50));
}

#[test]
fn attempts_that_run_out_of_time_are_counted_and_then_given_up() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    for _ in 0..200 {
        if world.machine.agent_state() == AgentState::RollbackNeeded {
            break;
        }
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        world.act(Action::Elapse);
    }
    let error = world
        .machine
        .shared()
        .durable
        .memory
        .known_bad(&commit(4))
        .expect("given up")
        .clone();
    assert_eq!(error.code, "applyTimeout");
    assert_eq!(
        world.machine.state().update().map(|update| update.attempt),
        Some(MAX_ATTEMPTS)
    );
}

#[test]
fn an_agent_that_was_away_for_long_looks_before_it_counts_an_attempt_as_failed() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    world.stay_away(Duration::from_secs(7200));
    world.act(Action::Elapse);
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_supervisor_silent_while_applying_is_reported_and_costs_no_attempt() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Silent));
    assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
    world.act(Action::Host {
        locked: false,
        full: false,
    });
    assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
    for _ in 0..100 {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    world.act(Action::Observe(View::Working));
    assert_eq!(blockers(&world), []);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn an_attempt_that_ends_after_the_hand_over_is_followed_by_watching() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    let attempt = |world: &World| world.machine.state().update().map(|update| update.attempt);
    while attempt(&world) == Some(1) {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
    }
    // It looks whether the target is still there; the Supervisor may get there before it is told.
    world.act(Action::Observe(View::Actual));
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert_eq!(left(&world, "ApplyTarget"), 2, "one for release 2, one for 4");
}

#[test]
fn an_order_to_go_ahead_ends_the_back_off_of_a_stuck_supervisor_once() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    heard(&mut world, 4, PolicyKind::Forced);
    assert_eq!(left(&world, "RestartApp"), 0, "it is at work");
    world.act(Action::Observe(View::Stuck));
    assert_eq!(left(&world, "RestartApp"), 1);
    play(
        &mut world,
        &[
            good(Port::Supervisor),
            Action::Observe(View::Working),
            Action::Observe(View::Stuck),
        ],
    );
    assert_eq!(left(&world, "RestartApp"), 1);
}

#[test]
fn an_order_that_went_with_the_hand_over_restarts_nothing() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Forced);
    world.act(Action::Observe(View::Stuck));
    heard(&mut world, 4, PolicyKind::Forced);
    world.act(Action::Observe(View::Stuck));
    assert_eq!(left(&world, "RestartApp"), 0);
}

#[test]
fn an_agent_that_ends_at_each_hand_over_waits_before_the_next_one() {
    let mut world = proven(2);
    heard(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[good(Port::Supervisor)]);
    ends_each_time(&mut world, AgentState::Applying, "it handed the release over");
    world.settle();
    assert_eq!(
        (wire(&world), known_bad(&world, 4)),
        (UpdateState::Succeeded, false)
    );
}

#[test]
fn starts_do_not_add_up_while_the_supervisor_is_away() {
    let mut world = proven(2);
    heard(&mut world, 4, PolicyKind::Plain);
    play(&mut world, &[good(Port::Supervisor)]);
    for _ in 0..5 {
        world.act(Action::Answer(Port::Supervisor, Reply::Unavailable));
        world.act(Action::Restart { reboot: true });
        assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
        assert!(world.pending.contains_key(&Port::Supervisor), "it looks at once");
    }
}
