//! A release is only bad when it ran and was bad.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn an_outage_of_the_registry_never_makes_a_release_bad() {
    let mut world = applying();
    for _ in 0..50 {
        play(
            &mut world,
            &[Action::Log(Line::Away), Action::Observe(View::Stuck)],
        );
        pass(&mut world, 700);
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
    }
    assert!(!known_bad(&world));
    let status = update(&world);
    let error = status.error.unwrap();
    assert_eq!(error.code, "applyTimeout");
    assert!(
        error.evidence.iter().any(|seen| seen.contains("pullFailing")),
        "{error:?}"
    );
    assert_eq!(status.attempt, Some(1), "no attempt was used up");
    assert_eq!(left(&world, "ApplyTarget"), 2);
    // The registry is back.
    play(
        &mut world,
        &[Action::Log(Line::PullBegan), Action::Log(Line::PullDone)],
    );
    let status = update(&world);
    assert_eq!((status.error, status.blocked_by), (None, Vec::new()));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_target_that_somebody_replaced_is_handed_over_again_when_nothing_gets_on() {
    let mut world = applying();
    world.post(2);
    play(&mut world, &[Action::Observe(View::Foreign)]);
    pass(&mut world, 1300);
    assert_eq!(world.target_commit(), Some(commit(4)));
    assert!(!known_bad(&world));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_slow_link_may_take_as_long_as_it_gets_on() {
    let mut world = applying();
    for percent in 1..=50 {
        pass(&mut world, 590);
        world.act(Action::Observe(View::Fetching(percent)));
        let status = update(&world);
        assert_eq!(status.state, UpdateState::Applying);
        assert_eq!(status.error, None, "{percent} %");
    }
    pass(&mut world, 601);
    let status = update(&world);
    assert_eq!(
        status.error.unwrap().code,
        "applyTimeout",
        "nothing got on for 600 s"
    );
    assert!(!known_bad(&world));
}

#[test]
fn a_release_whose_service_cannot_be_started_is_bad_in_the_end() {
    let mut world = applying();
    for _ in 0..500 {
        if world.machine.agent_state() == AgentState::RollbackNeeded {
            break;
        }
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        if world.machine.agent_state() == AgentState::Applying {
            play(
                &mut world,
                &[
                    Action::Log(Line::Starting),
                    Action::Log(Line::Starting),
                    Action::Observe(View::Working),
                ],
            );
        }
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    assert!(known_bad(&world));
}

/// The Supervisor tries to start Onebox once more, as long as the update is being applied.
fn tries_to_start(world: &mut World, pause: u64) {
    if world.machine.agent_state() == AgentState::Applying {
        play(
            world,
            &[Action::Log(Line::Starting), Action::Observe(View::Working)],
        );
    }
    pass(world, pause);
}

#[test]
fn a_start_that_fails_for_minutes_ends_the_attempt_long_before_the_apply_timeout() {
    let mut world = proven(2);
    let mut app = desired_app(4, PolicyKind::Plain);
    app.policy.apply_timeout_seconds = 3600;
    world.act(Action::Log(Line::Opened));
    world.desire_app(Some(app));
    while world.machine.agent_state() != AgentState::Applying {
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        world.act(Action::Elapse);
    }
    while world.act(good(Port::Supervisor)) {}
    let begun = world.now().boot;
    play(&mut world, &[Action::Log(Line::Stopping)]);
    for pause in [1, 2, 4, 8, 16, 32, 64, 128] {
        tries_to_start(&mut world, pause);
        let status = update(&world);
        assert_eq!((status.state, status.attempt), (UpdateState::Applying, Some(1)));
    }
    for _ in 0..60 {
        tries_to_start(&mut world, 60);
    }
    assert!(known_bad(&world), "{:?}", update(&world));
    assert_eq!(world.target_commit(), Some(commit(2)), "it was gone back from");
    let error = update(&world).error.unwrap();
    assert_eq!(error.code, "startFailed");
    assert!(
        error
            .message
            .contains("the container of onebox cannot be started"),
        "{error:?}"
    );
    assert!(world.now().boot.since(begun) < Duration::from_secs(2 * 3600));
}

#[test]
fn a_start_that_succeeds_in_the_end_ends_no_attempt() {
    let mut world = applying();
    play(&mut world, &[Action::Log(Line::Stopping)]);
    for _ in 0..2 {
        for _ in 0..7 {
            tries_to_start(&mut world, 40);
        }
        assert_eq!(blockers(&world), [BlockerKind::StartFailing]);
        world.act(Action::Log(Line::Started));
    }
    assert_eq!(update(&world).attempt, Some(1));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

fn held_up() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => proptest::sample::select(vec![Line::PullBegan, Line::Away, Line::DiskFull, Line::Locked, Line::Missing, Line::Lost, Line::Opened])
            .prop_map(Action::Log),
        3 => proptest::sample::select(vec![View::Stuck, View::Silent, View::Fetching(0), View::Fetching(30)])
            .prop_map(Action::Observe),
        4 => Just(Action::Elapse),
        2 => (1u32..2000).prop_map(Action::Pass),
        1 => any::<bool>().prop_map(|reboot| Action::Restart { reboot }),
        1 => any::<bool>().prop_map(|locked| Action::Host { locked, full: true }),
        1 => Just(Action::Request(LocalRequest::Status)),
    ]
}

proptest! {
    /// Whatever holds the Supervisor up before it changes a container, for however long: the release is not bad, and
    /// is in place as soon as it may.
    #[test]
    fn nothing_that_happens_before_containers_change_makes_a_release_bad(actions in vec(held_up(), 0..150)) {
        let mut world = applying();
        for action in actions {
            while let Some(port) = world.pending.keys().next().copied() {
                world.act(good(port));
            }
            world.act(action);
            prop_assert!(!known_bad(&world), "{action:?}: {:#?}", world.machine.state());
        }
        prop_assert!(world.faults.is_empty(), "{:#?}", world.faults);
        world.settle();
        prop_assert_eq!(wire(&world), UpdateState::Succeeded, "{:#?}", world.machine.state());
    }
}

/// Release 4 was bad, and the Supervisor works on the way back to release 2.
fn going_back() -> World {
    let mut world = proven(2);
    world.act(Action::Log(Line::Opened));
    handed_over(&mut world, 4, PolicyKind::Plain);
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Actual), Action::Observe(View::Unhealthy)],
        );
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    while world.act(good(Port::Supervisor)) {}
    assert_eq!(world.target_commit(), Some(commit(2)));
    world
}

#[test]
fn a_way_back_that_gets_on_may_take_its_time() {
    let mut world = going_back();
    let allowed = world.machine.shared().durable.policy().apply_timeout();
    for percent in 1..=60 {
        play(&mut world, &[Action::Observe(View::Fetching(percent))]);
        pass(&mut world, allowed.as_secs() * 9 / 10);
        assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    }
    world.settle();
    assert_eq!(update(&world).state, UpdateState::RolledBack);
}

#[test]
fn a_way_back_that_cannot_be_started_is_told_long_before_its_time_is_over() {
    let mut world = going_back();
    let begun = world.now().boot;
    play(&mut world, &[Action::Log(Line::Stopping)]);
    for _ in 0..60 {
        if world.machine.agent_state() == AgentState::RollbackNeeded {
            play(
                &mut world,
                &[Action::Log(Line::Starting), Action::Observe(View::Working)],
            );
            pass(&mut world, 60);
        }
    }
    let error = update(&world).error.unwrap();
    assert_eq!(error.code, "rollbackFailed", "{error:?}");
    assert!(
        error
            .message
            .contains("the container of onebox cannot be started"),
        "{error:?}"
    );
    assert!(world.now().boot.since(begun) < Duration::from_secs(30 * 60));
}
