use super::*;
use crate::lifecycle::Machine;
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::facts::{CallFailure, CallFailureKind, Run};

#[test]
fn the_registration_id_is_on_disk_before_the_call_and_a_restart_repeats_it() {
    let mut world = World::new(true);
    let first = world
        .disk
        .durable
        .join
        .registration()
        .cloned()
        .expect("written with the first effect");
    world.act(Action::Restart { reboot: true });
    let again = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Register { registration_id, .. } => Some(registration_id.clone()),
        _ => None,
    });
    assert_eq!(again, Some(first.id));
}

#[test]
fn failures_back_off_and_a_restart_keeps_the_pause() {
    let mut world = World::new(true);
    play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
    let due = world.machine.next_timer().expect("it tries again").1;
    assert!(due > world.now().boot);
    world.act(Action::Restart { reboot: false });
    assert!(
        !world.pending.contains_key(&Port::Cloudly),
        "no try before its time"
    );
    assert_eq!(world.machine.next_timer().expect("it tries again").1, due);
}

#[test]
fn a_refused_token_stays_refused_over_a_restart_until_another_comes() {
    let mut world = World::new(true);
    play(
        &mut world,
        &[
            Action::Answer(Port::Cloudly, Reply::Refused),
            Action::Restart { reboot: false },
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Unenrolled);
    assert_eq!(
        left(&world, "ForgetJoinToken"),
        1,
        "the refused token is not kept"
    );
    world.act(Action::Offer {
        token: 1,
        replace: true,
    });
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Unenrolled,
        "the same token stays refused"
    );
    world.act(Action::Offer {
        token: 2,
        replace: false,
    });
    assert_eq!(world.machine.agent_state(), AgentState::Registering);
}

#[test]
fn a_node_that_gets_no_other_identity_goes_on_under_the_one_it_has() {
    for (reply, tries) in [(Reply::Refused, 1), (Reply::Gone, 1), (Reply::Unavailable, 4)] {
        let mut world = World::enrolled();
        world.settle();
        world.act(good(Port::Cloudly));
        let before = world.machine.shared().durable.node.clone();
        let heartbeats = left(&world, "Heartbeat");
        world.act(Action::Offer {
            token: 2,
            replace: true,
        });
        for _ in 0..tries {
            assert_eq!(world.machine.agent_state(), AgentState::Registering, "{reply:?}");
            while !world.pending.contains_key(&Port::Cloudly) {
                play(&mut world, &[Action::Elapse]);
            }
            world.act(Action::Answer(Port::Cloudly, reply));
        }
        assert_eq!(world.machine.agent_state(), AgentState::Idle, "{reply:?}");
        assert_eq!(world.machine.shared().durable.node, before);
        assert_eq!(
            left(&world, "ForgetJoinToken"),
            2,
            "the first token, and the one that was not taken"
        );
        world.act(Action::Elapse);
        assert!(
            left(&world, "Heartbeat") > heartbeats,
            "{reply:?}: it is heard of again"
        );
    }
}

/// The state file was damaged after the first heartbeat, and the one before it says that the node registers.
#[test]
fn a_repetition_that_is_refused_leads_to_the_identity_that_is_stored() {
    let world = World::new(true);
    let run = Run {
        has_credentials: true,
        ..world.run_facts()
    };
    let (mut machine, step) = Machine::resume(world.disk.clone(), run, world.now());
    let op = step.effects.iter().find_map(Effect::op).expect("it registers");
    let failure = CallFailure {
        kind: CallFailureKind::Unauthorized,
        code: None,
        message: "the registration was confirmed".to_owned(),
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    };
    let step = machine.step(&Event::RegisterFailed { op, failure }, world.now());
    assert_eq!(machine.agent_state(), AgentState::Idle);
    assert!(step.checkpoint.is_some());
    assert_eq!(machine.shared().durable.node, Some(Node::unknown(None)));
}
