//! What is in the way while the Supervisor has the target, and that none of it makes a release bad.

mod causes;
mod missing_image;
mod never_bad;

use super::states::{blockers, good, handed_over, left, play, proven, wire};
use super::world::{Action, Line, LocalRequest, PolicyKind, View, World, commit, desired_app};
use crate::lifecycle::effect::Port;
use crate::lifecycle::report::status::update_status;
use crate::lifecycle::report::summary::summary;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::states::{AgentState, UpdateState};
use baseos_interfaces::status::{Blocker, BlockerKind, UpdateStatus};
use std::time::Duration;

/// Release 2 runs, and release 4 has been handed over.
fn applying() -> World {
    let mut world = proven(2);
    world.act(Action::Log(Line::Opened));
    handed_over(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Fetching(0)));
    world
}

fn update(world: &World) -> UpdateStatus {
    update_status(world.machine.shared(), world.machine.state())
}

fn only_blocker(world: &World) -> Blocker {
    let blocked = update(world).blocked_by;
    assert_eq!(blocked.len(), 1, "{blocked:?}");
    blocked[0].clone()
}

fn sentence(world: &World) -> String {
    summary(world.machine.shared(), world.machine.state())
}

/// Time in which deadlines come and everything is answered.
fn pass(world: &mut World, seconds: u64) {
    let end = world.now().boot + Duration::from_secs(seconds);
    while world.now().boot < end {
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        let due = world.machine.next_timer().is_some_and(|(_, at)| at <= end);
        if due {
            world.act(Action::Elapse);
        } else {
            let left = u32::try_from(end.since(world.now().boot).as_secs()).unwrap();
            world.act(Action::Pass(left.max(1)));
        }
    }
}

fn known_bad(world: &World) -> bool {
    world
        .machine
        .shared()
        .durable
        .memory
        .known_bad(&commit(4))
        .is_some()
}
