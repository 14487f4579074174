use super::*;
use crate::lifecycle::supervisor_target::builder::History;
use crate::lifecycle::tests::world::release;

#[test]
fn a_bad_release_is_left_for_the_one_that_proved_itself_and_reported_once() {
    let mut world = proven(2);
    world.act(Action::Desire(3, PolicyKind::Plain));
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::RolledBack, Some(commit(2)))
    );
    let told: Vec<_> = world
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Heartbeat { heartbeat, .. } => Some(heartbeat.events.clone()),
            _ => None,
        })
        .flatten()
        .filter(|event| event.kind == "updateFinished" && event.data["target"] == commit(3))
        .map(|event| event.id)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let statuses = world.effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat { heartbeat, .. } => heartbeat.status.as_ref(),
        _ => None,
    });
    let going_back: Vec<_> = statuses
        .filter(|status| status.update.state == UpdateState::RollbackNeeded)
        .map(|status| status.update.going_back)
        .collect();
    assert!(
        !going_back.is_empty() && going_back.iter().all(|it| *it == Some(true)),
        "{going_back:?}"
    );
}

#[test]
fn it_goes_back_to_a_release_that_ran_under_rules_that_are_stricter_now() {
    let mut world = proven(2);
    let ran = world.disk.durable.proven.as_mut().unwrap();
    let onebox = ran.services.get_mut("onebox").unwrap();
    onebox.composition.insert("build".to_owned(), ".".into());
    let history = world.disk.durable.history(&(&release(2)).into());
    assert_eq!(
        history,
        History::New,
        "a release of the same commit is another one"
    );
    world.act(Action::Restart { reboot: false });
    world.act(Action::Desire(3, PolicyKind::Plain));
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::RolledBack, Some(commit(2)))
    );
}

#[test]
fn without_a_release_to_go_back_to_it_waits_for_the_operator() {
    let mut world = World::enrolled();
    world.act(Action::Desire(3, PolicyKind::Plain));
    world.settle();
    assert_eq!(wire(&world), UpdateState::RollbackNeeded);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    let says = "Waiting for the operator: it stays until another release is set desired.";
    assert!(summary.ends_with(says), "{summary}");
    let going_back = |world: &World| {
        report::status::update_status(world.machine.shared(), world.machine.state()).going_back
    };
    assert_eq!(going_back(&world), Some(false));
    world.act(Action::Desire(2, PolicyKind::Plain));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert_eq!(going_back(&world), None);
}

#[test]
fn a_release_withdrawn_in_mid_application_is_undone_and_counts_as_cancelled() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    world.act(Action::Desire(0, PolicyKind::Plain));
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Cancelled, Some(commit(2)))
    );
    assert!(
        world
            .machine
            .shared()
            .durable
            .memory
            .known_bad(&commit(4))
            .is_none()
    );
}

#[test]
fn a_newer_release_takes_the_place_of_one_under_way() {
    let mut world = proven(2);
    handed_over(&mut world, 3, PolicyKind::Plain);
    world.act(Action::Observe(View::Working));
    world.act(Action::Desire(4, PolicyKind::Plain));
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Succeeded, Some(commit(4)))
    );
}

#[test]
fn a_bad_release_that_stays_in_place_is_tried_again_when_that_is_ordered() {
    let mut world = World::enrolled();
    handed_over(&mut world, 2, PolicyKind::Plain);
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    assert_eq!(wire(&world), UpdateState::RollbackNeeded);
    world.act(Action::Desire(2, PolicyKind::Forced));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn the_way_back_that_is_ordered_does_not_wait_for_a_supervisor_stuck_at_the_bad_release() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::ReportOnly);
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    assert_eq!(wire(&world), UpdateState::RollbackNeeded);
    world.act(Action::Observe(View::Working));
    heard(&mut world, 2, PolicyKind::Plain);
    assert_eq!(world.machine.agent_state(), AgentState::Staging);
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(2)));
}

#[test]
fn a_way_back_whose_last_look_fails_says_so_and_goes_on() {
    let mut world = proven(2);
    handed_over(&mut world, 4, PolicyKind::Plain);
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    while world.act(good(Port::Supervisor)) {}
    play(&mut world, &[Action::Observe(View::Actual)]);
    for _ in 0..100 {
        world.act(good(Port::Cloudly));
        if world.act(Action::Answer(Port::Supervisor, Reply::Unavailable)) {
            assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
        }
        assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
        world.act(Action::Elapse);
    }
    world.settle();
    assert_eq!(wire(&world), UpdateState::RolledBack);
}
