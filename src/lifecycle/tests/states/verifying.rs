use super::*;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::desired::{DesiredApp, PlatformImage};

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

/// Up to the moment at which the time of health is over, with no look since the first one.
fn watched(number: u8) -> World {
    let mut world = proven(2);
    handed_over(&mut world, number, PolicyKind::Plain);
    play(&mut world, &[Action::Observe(View::Actual)]);
    let health = |world: &World| world.machine.next_timer().map(|(timer, _)| timer) == Some(Timer::Health);
    for _ in 0..100 {
        if health(&world) {
            break;
        }
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert!(health(&world), "{:?}", world.machine.next_timer());
    world
}

#[test]
fn success_is_told_only_after_a_look_when_the_time_is_over() {
    let mut world = watched(4);
    world.act(Action::Elapse);
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_release_that_broke_since_the_last_look_is_not_good() {
    let mut world = watched(4);
    play(
        &mut world,
        &[
            Action::Turn(View::Unhealthy),
            Action::Elapse,
            good(Port::Supervisor),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    let verifying = serde_json::to_string(world.machine.state()).unwrap();
    assert!(verifying.contains("onebox: exited"), "{verifying}");
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded, "one break is forgiven");
}

#[test]
fn a_last_look_that_fails_is_taken_again() {
    let mut world = watched(4);
    let fails = Action::Answer(Port::Supervisor, Reply::Unavailable);
    for _ in 0..3 {
        for _ in 0..100 {
            if world.pending.contains_key(&Port::Supervisor) {
                break;
            }
            world.act(good(Port::Cloudly));
            world.act(Action::Elapse);
        }
        play(&mut world, &[fails]);
        assert_eq!(world.machine.agent_state(), AgentState::Verifying);
        assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
    }
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn another_target_at_the_last_look_ends_the_update() {
    let mut world = watched(4);
    play(
        &mut world,
        &[
            Action::Turn(View::Foreign),
            Action::Elapse,
            good(Port::Supervisor),
        ],
    );
    assert_ne!(world.machine.agent_state(), AgentState::Verifying);
    assert!(!known_bad(&world, 4), "somebody else's doing is no verdict on it");
}

/// Release 4 with the image of Onebox that it means.
fn with_digest() -> DesiredApp {
    let mut app = desired_app(4, PolicyKind::Plain);
    let onebox = app.release.services.get_mut("onebox").unwrap();
    let image = PlatformImage {
        config_digest: Some(MEANT.into()),
        size_bytes: None,
    };
    onebox.platforms.insert("linux/amd64".into(), image);
    app
}

const MEANT: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";

#[test]
fn a_release_is_not_bad_because_the_supervisor_does_not_say_which_image_runs() {
    let mut world = proven(2);
    world.desire_app(Some(with_digest()));
    world.engine_images = Some([("onebox".to_owned(), MEANT.to_owned())].into());
    for _ in 0..20 {
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        if world.machine.agent_state() == AgentState::Applying {
            world.act(Action::Observe(View::Actual));
        }
        if world.machine.agent_state() == AgentState::Verifying {
            break;
        }
        world.act(Action::Elapse);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.engine_images = None;
    play(&mut world, &[Action::Observe(View::Actual)]);
    for _ in 0..100 {
        assert_eq!(world.machine.agent_state(), AgentState::Verifying);
        assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        world.act(Action::Elapse);
    }
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    let reason = update.blocked_by[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("status 500"), "{reason}");
    assert!(!known_bad(&world, 4));
    world.engine_images = Some([("onebox".to_owned(), MEANT.to_owned())].into());
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert!(blockers(&world).is_empty());
}

#[test]
fn what_only_the_last_look_saw_does_not_hold_the_release_up() {
    let mut world = watched(4);
    play(
        &mut world,
        &[
            Action::Turn(View::Working),
            Action::Elapse,
            good(Port::Supervisor),
            Action::Turn(View::Actual),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    for _ in 0..50 {
        world.act(good(Port::Cloudly));
        world.act(good(Port::Supervisor));
        world.act(Action::Elapse);
    }
    assert_eq!(wire(&world), UpdateState::Succeeded);
}
