//! Walks on which something went wrong once, as the property tests found and shrank them. They are kept as walks rather
//! than as seeds, which mean something else as soon as a strategy changes.

use super::world::{Action, Line, LocalRequest, PolicyKind, Reply, View, World};
use crate::lifecycle::effect::Port;
use baseos_interfaces::states::AgentState;

const GOOD: Reply = Reply::Good;
const CLOUDLY: Action = Action::Answer(Port::Cloudly, GOOD);
const SUPERVISOR: Action = Action::Answer(Port::Supervisor, GOOD);

fn desire(number: u8, policy: PolicyKind) -> Action {
    Action::Desire(number, policy)
}

/// The world after the walk, once it has come to rest in an end that the model allows.
fn settled(mut world: World, walk: &[Action]) -> World {
    for action in walk {
        world.act(*action);
    }
    world.settle();
    world.settle();
    assert!(world.faults.is_empty(), "{:#?}", world.faults);
    assert_eq!(world.model.ends().violated_by(&world), None);
    world
}

/// Cloudly's clock, heard for the first time, opened the gate for the old release under the new one's policy.
#[test]
fn an_update_does_not_begin_with_the_answer_that_supersedes_it() {
    let walk = [
        Action::Offer {
            token: 1,
            replace: false,
        },
        CLOUDLY,
        Action::Elapse,
        desire(2, PolicyKind::Plain),
        CLOUDLY,
        Action::Elapse,
        desire(5, PolicyKind::Forced),
        Action::Restart { reboot: false },
        Action::Observe(View::Actual),
        SUPERVISOR,
        Action::Elapse,
        CLOUDLY,
    ];
    let world = settled(World::new(false), &walk);
    assert_eq!(world.machine.agent_state(), AgentState::Failed);
}

/// It stayed idle and said that there was nothing to do.
#[test]
fn a_refused_release_that_is_desired_again_is_failed_again() {
    let walk = [
        Action::Elapse,
        desire(5, PolicyKind::Plain),
        CLOUDLY,
        desire(0, PolicyKind::Plain),
        SUPERVISOR,
        CLOUDLY,
        desire(5, PolicyKind::Plain),
    ];
    let world = settled(World::enrolled(), &walk);
    assert_eq!(world.machine.agent_state(), AgentState::Failed);
}

/// It stayed in rollback-needed for a release that nobody desired any more, while the desired one ran.
#[test]
fn a_release_that_runs_ends_the_wait_for_the_operator_over_another_one() {
    let mut walk = vec![
        Action::Offer {
            token: 1,
            replace: false,
        },
        desire(2, PolicyKind::Plain),
        CLOUDLY,
        Action::Observe(View::Actual),
        CLOUDLY,
        SUPERVISOR,
    ];
    walk.extend([Action::Elapse; 4]);
    walk.extend([desire(1, PolicyKind::Plain), Action::Elapse]);
    let world = settled(World::new(false), &walk);
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
}

/// An earlier find: the end differed when the agent was restarted after the eleventh action.
#[test]
fn a_release_that_was_ill_for_a_moment_is_in_place_in_the_end() {
    let mut walk = vec![Action::Elapse; 3];
    walk.extend([CLOUDLY, Action::Pass(1), Action::Pass(1)]);
    walk.extend([desire(1, PolicyKind::Plain), Action::Pass(1)]);
    walk.extend([Action::Elapse; 3]);
    walk.push(Action::Restart { reboot: false });
    walk.extend([Action::Observe(View::Actual), Action::Observe(View::Silent)]);
    walk.extend([CLOUDLY, SUPERVISOR, SUPERVISOR]);
    walk.extend([Action::Elapse, Action::Observe(View::Unhealthy), Action::Elapse]);
    settled(World::enrolled(), &walk);
}

/// Of the test's own world: a lease of the earlier boot must not be expected to hold.
#[test]
fn a_lease_ends_with_the_boot_even_when_the_disk_did_not_hear_of_the_new_one() {
    let walk = [
        Action::Request(LocalRequest::Lock),
        desire(2, PolicyKind::Plain),
        Action::Elapse,
        CLOUDLY,
        SUPERVISOR,
        Action::Disk { works: false },
        Action::Restart { reboot: true },
        CLOUDLY,
        Action::Restart { reboot: false },
    ];
    settled(World::enrolled(), &walk);
}

/// It was on trial, waited for a container that nobody was to make, and was called bad.
#[test]
fn an_agent_that_somebody_else_put_in_place_proves_itself_in_its_container() {
    let walk = [
        desire(1, PolicyKind::Plain),
        Action::Observe(View::Unhealthy),
        CLOUDLY,
        Action::Observe(View::Unreplaced),
        Action::Restart { reboot: false },
        Action::Post(4),
        Action::Observe(View::Foreign),
        SUPERVISOR,
        Action::LoseTarget,
        Action::Elapse,
        desire(4, PolicyKind::Plain),
        Action::Elapse,
    ];
    settled(World::guarded(), &walk);
}

/// It depended on what was desired in between: a release ended it, nothing did not.
#[test]
fn consent_ends_with_the_update_that_it_was_given_to() {
    for between in [0, 2] {
        let walk = [
            desire(4, PolicyKind::NoSlot),
            Action::Elapse,
            CLOUDLY,
            Action::Request(LocalRequest::Approve),
            desire(between, PolicyKind::NoSlot),
            Action::Elapse,
            CLOUDLY,
            desire(4, PolicyKind::NeedsApproval),
        ];
        let world = settled(World::enrolled(), &walk);
        assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    }
}

/// Somebody else's target has taken the place of the agent's, which waits for its image: what was handed over is not there
/// any more once that is seen, and a deferral counts again.
#[test]
fn a_release_whose_place_another_one_took_goes_through_the_gate_again_once_that_is_seen() {
    let walk = [
        desire(1, PolicyKind::Forced),
        Action::Restart { reboot: false },
        Action::Observe(View::Working),
        CLOUDLY,
        Action::Post(2),
        SUPERVISOR,
        SUPERVISOR,
        SUPERVISOR,
        Action::Log(Line::Missing),
        Action::Post(2),
        Action::Request(LocalRequest::Defer),
    ];
    for (seen, state) in [(false, AgentState::Applying), (true, AgentState::Staging)] {
        let mut world = World::enrolled();
        for action in walk {
            world.act(action);
        }
        assert_eq!(world.machine.agent_state(), AgentState::Failed);
        if seen {
            world.act(Action::Observe(View::Actual));
        }
        for action in [desire(1, PolicyKind::Plain), Action::Elapse, CLOUDLY] {
            world.act(action);
        }
        assert_eq!(world.machine.agent_state(), state, "seen: {seen}");
        settled(world, &[]);
    }
}

/// The Supervisor had the release as its target before the agent came, and its image was missing: when the Supervisor got
/// on, so did the agent, past a lock.
#[test]
fn a_release_without_image_that_was_not_handed_over_goes_through_the_gate() {
    let walk = [
        Action::Elapse,
        Action::Request(LocalRequest::Status),
        Action::Elapse,
        Action::Observe(View::Stuck),
        desire(1, PolicyKind::Plain),
        Action::Elapse,
        Action::Log(Line::Missing),
        CLOUDLY,
        SUPERVISOR,
        SUPERVISOR,
        Action::Host {
            locked: true,
            full: false,
        },
        Action::Observe(View::Stuck),
    ];
    let mut world = World::enrolled();
    for action in walk {
        world.act(action);
    }
    settled(world, &[]);
}
