//! The model notices what it is for.

use super::*;
use crate::lifecycle::Transition;
use crate::lifecycle::effect::Port;
use crate::lifecycle::tests::world::{Action, LocalRequest, PolicyKind, Reply, desired_app};

fn begins() -> Step {
    Step {
        transitions: vec![Transition {
            from: AgentState::Waiting,
            to: AgentState::Applying,
            cause: "gateChanged".into(),
            by: "waiting".into(),
            attempt: Some(1),
            target: None,
        }],
        ..Step::default()
    }
}

/// A model of an enrolled node that was told of release 2 under this policy.
fn told(policy: PolicyKind) -> World {
    let mut world = World::enrolled();
    world.act(Action::Desire(2, policy));
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    world.act(Action::Answer(Port::Cloudly, Reply::Good));
    world
}

#[test]
fn notices_an_update_that_begins_although_something_holds_it_back() {
    for (policy, request, says) in [
        (PolicyKind::Plain, Some(LocalRequest::Lock), "a lease is held"),
        (PolicyKind::Plain, Some(LocalRequest::Defer), "it was deferred"),
        (PolicyKind::NeedsApproval, None, "nobody approved it"),
        (PolicyKind::NoSlot, None, "not given this node its turn"),
    ] {
        let mut world = told(policy);
        if let Some(request) = request {
            world.act(Action::Request(request));
        }
        let now = world.now().boot;
        let faults = world.model.take(now, None, &begins(), true);
        assert!(
            faults.iter().any(|fault| fault.contains(says)),
            "{says}: {faults:?}"
        );
    }
}

#[test]
fn allows_an_update_that_nothing_holds_back() {
    let mut world = told(PolicyKind::Plain);
    let now = world.now().boot;
    assert_eq!(world.model.take(now, None, &begins(), true), [""; 0]);
}

#[test]
fn notices_a_world_that_comes_to_rest_without_the_desired_release() {
    let mut world = World::enrolled();
    world.model.desired = Some(desired_app(2, PolicyKind::Plain));
    let wrong = world.model.ends().violated_by(&world).unwrap();
    assert!(
        wrong.contains("[Idle]") && wrong.contains("it is idle with a1a1"),
        "{wrong}"
    );
}
