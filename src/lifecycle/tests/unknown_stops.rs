//! Stops of services whose outcome the agent has not heard: what is seen of the service says it.

use super::healing::{MINUTE, pass, resting};
use super::states::{good, left, play};
use super::world::{Action, CommandKind, Reply, View, World};
use crate::lifecycle::effect::Port;
use std::time::Duration;

fn is_remembered(world: &World) -> bool {
    world
        .machine
        .shared()
        .durable
        .healing
        .was_stopped_on_purpose("onebox")
}

/// A stop has left, and its outcome stays unknown.
fn unknown(lose: &[Action]) -> World {
    let mut world = resting();
    world.act(Action::Command(CommandKind::StopService));
    pass(&mut world, 2 * MINUTE);
    assert_eq!(left(&world, "StopService"), 1);
    play(&mut world, lose);
    assert!(is_remembered(&world));
    world
}

/// The Supervisor is looked at again and again, so many minutes.
fn look(world: &mut World, view: View, minutes: u64) {
    let end = world.now().boot + Duration::from_secs(60 * minutes);
    while world.now().boot < end {
        world.act(good(Port::Cloudly));
        world.act(Action::Observe(view));
        world.act(Action::Elapse);
    }
    world.act(Action::Observe(view));
}

const WAYS: [&[Action]; 3] = [
    &[Action::Restart { reboot: false }],
    &[Action::Restart { reboot: true }],
    &[Action::Answer(Port::Supervisor, Reply::Unavailable)],
];

#[test]
fn a_service_that_runs_on_was_not_stopped_and_is_healed_later() {
    for lose in WAYS {
        let mut world = unknown(lose);
        look(&mut world, View::Actual, 4);
        assert!(!is_remembered(&world), "{lose:?}");
        world.act(Action::Observe(View::Unhealthy));
        pass(&mut world, 2 * MINUTE);
        assert_eq!(left(&world, "StartService"), 1, "{lose:?}");
    }
}

#[test]
fn a_service_that_is_seen_to_have_exited_was_stopped_and_stays_so() {
    for lose in WAYS {
        let mut world = unknown(lose);
        // Stopping takes its time.
        world.act(Action::Observe(View::Actual));
        world.act(good(Port::Cloudly));
        pass(&mut world, MINUTE);
        look(&mut world, View::Unhealthy, 3);
        assert!(is_remembered(&world), "{lose:?}");
        world.act(Action::Restart { reboot: false });
        look(&mut world, View::Unhealthy, 5);
        assert_eq!(left(&world, "StartService"), 0, "{lose:?}");
        // From now on it is as any stop that succeeded.
        look(&mut world, View::Actual, 5);
        assert!(is_remembered(&world), "{lose:?}");
    }
}

#[test]
fn a_stop_that_succeeds_after_an_unknown_one_is_known() {
    let mut world = unknown(&[Action::Restart { reboot: false }]);
    play(&mut world, &[Action::Observe(View::Actual), good(Port::Cloudly)]);
    world.act(Action::Command(CommandKind::StopService));
    pass(&mut world, 2 * MINUTE);
    assert_eq!(left(&world, "StopService"), 2);
    world.act(good(Port::Supervisor));
    look(&mut world, View::Actual, 5);
    assert!(is_remembered(&world));
}
