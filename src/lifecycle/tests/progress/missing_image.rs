//! An image that no registry has: fails fast, is not bad, and goes on when it is there.

use super::*;
use crate::lifecycle::Event;
use crate::lifecycle::progress::fact::{LogFact, PullFailure};

#[test]
fn a_missing_image_fails_at_once_and_is_not_remembered_as_bad() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::PullBegan), Action::Log(Line::Missing)],
    );
    let status = update(&world);
    assert_eq!(status.state, UpdateState::Failed);
    let error = status.error.unwrap();
    assert_eq!(error.code, "imageNotFound");
    assert!(error.message.contains(&world.onebox_image()), "{error:?}");
    assert!(!known_bad(&world));
    assert!(
        sentence(&world).contains("cannot be fetched"),
        "{}",
        sentence(&world)
    );
    // Looks at a Supervisor that still tries do not begin it again.
    for _ in 0..3 {
        play(
            &mut world,
            &[Action::Observe(View::Stuck), Action::Log(Line::Missing)],
        );
        pass(&mut world, 600);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Failed);
    assert_eq!(left(&world, "ApplyTarget"), 2, "one for release 2, one for 4");
}

#[test]
fn an_image_that_is_pushed_later_goes_on_to_success() {
    for restart in [false, true] {
        let mut world = applying();
        world.act(Action::Log(Line::Missing));
        if restart {
            play(
                &mut world,
                &[Action::Restart { reboot: true }, Action::Log(Line::Opened)],
            );
            world.act(Action::Observe(View::Stuck));
            assert_eq!(world.machine.agent_state(), AgentState::Failed);
        }
        play(
            &mut world,
            &[Action::Log(Line::PullBegan), Action::Log(Line::PullDone)],
        );
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
        world.settle();
        assert_eq!(wire(&world), UpdateState::Succeeded);
        assert_eq!(world.target_commit(), Some(commit(4)));
        assert_eq!(left(&world, "ApplyTarget"), 2, "it had the target all the time");
    }
}

#[test]
fn a_missing_image_does_not_keep_an_operators_order_from_getting_through() {
    // The same release once more, and another one.
    for number in [4, 2] {
        let mut world = applying();
        world.act(Action::Log(Line::Missing));
        world.act(Action::Desire(number, PolicyKind::Plain));
        world.settle();
        assert_eq!(world.machine.agent_state(), AgentState::Idle);
        assert_eq!(world.target_commit(), Some(commit(number)));
    }
}

#[test]
fn a_release_that_is_withdrawn_while_its_image_is_missing_does_not_come_up_later() {
    let mut world = applying();
    world.act(Action::Log(Line::Missing));
    world.act(Action::Desire(0, PolicyKind::Plain));
    world.settle();
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
    assert_eq!(
        world.target_commit(),
        Some(commit(2)),
        "the Supervisor has the old target again"
    );
}

#[test]
fn an_image_of_an_earlier_target_that_is_missing_fails_nothing() {
    let mut world = applying();
    let earlier = world.onebox_image();
    handed_over(&mut world, 2, PolicyKind::Plain);
    let fact = LogFact::PullFailed {
        image: earlier,
        failure: PullFailure::NotFound,
        message: String::new(),
    };
    world.feed(Event::SupervisorLogged(fact));
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}
