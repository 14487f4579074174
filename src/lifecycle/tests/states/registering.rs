use super::*;
use crate::lifecycle::Machine;
use crate::lifecycle::backoff;
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::facts::{CallFailure, CallFailureKind, Run};
use std::time::Duration;

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

/// It belonged to the other server.
#[test]
fn with_a_new_url_of_cloudly_the_pause_begins_anew_after_a_restart() {
    let mut world = World::new(true);
    for _ in 0..5 {
        play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
        play(&mut world, &[Action::Elapse]);
    }
    play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
    let registration = world.disk.durable.join.registration().cloned();
    world.run.cloudly_url = Some("https://other.example".to_owned());
    world.act(Action::Restart { reboot: false });
    assert!(world.pending.contains_key(&Port::Cloudly), "it tries at once");
    assert_eq!(world.disk.durable.join.registration().cloned(), registration);
    world.act(Action::Answer(Port::Cloudly, Reply::Unavailable));
    let due = world.machine.next_timer().expect("it tries again").1;
    let first = backoff::CLOUDLY.base + Duration::from_secs(1);
    assert!(due <= world.now().boot + first, "as after the first failure");
    world.act(Action::Restart { reboot: true });
    assert!(
        !world.pending.contains_key(&Port::Cloudly),
        "the URL is the same again"
    );
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
        world.act(Action::Elapse);
        assert!(
            left(&world, "Heartbeat") > heartbeats,
            "{reply:?}: it is heard of again"
        );
        world.act(good(Port::Cloudly));
        assert_eq!(
            left(&world, "ForgetJoinToken"),
            2,
            "{reply:?}: the first token, and the one that was not taken"
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

/// Waits for the next call of Cloudly, which is answered so; returns the call's name.
fn next_call(world: &mut World, reply: Reply) -> &'static str {
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    let name = world.pending[&Port::Cloudly].1.name();
    world.act(Action::Answer(Port::Cloudly, reply));
    name
}

#[test]
fn a_replacement_of_which_no_heartbeat_is_accepted_leads_back_to_the_identity_before() {
    for (refusal, restart) in [
        (Reply::Refused, false),
        (Reply::Gone, false),
        (Reply::Refused, true),
    ] {
        let mut world = World::enrolled();
        world.act(Action::Desire(2, PolicyKind::Plain));
        world.settle();
        let before = world.machine.shared().durable.node.clone();
        world.act(Action::Offer {
            token: 2,
            replace: true,
        });
        while next_call(&mut world, Reply::Good) != "Register" {}
        let replacement = world.machine.shared().durable.node.clone();
        assert_ne!(replacement, before);
        assert_eq!(next_call(&mut world, refusal), "Heartbeat");
        assert_eq!(
            world.machine.shared().durable.node,
            replacement,
            "it is not known yet that the one before is accepted"
        );
        if restart {
            world.act(Action::Restart { reboot: true });
            assert_eq!(
                next_call(&mut world, refusal),
                "Heartbeat",
                "the new one is tried first"
            );
        }
        assert_eq!(next_call(&mut world, Reply::Good), "Heartbeat", "{refusal:?}");
        let durable = &world.machine.shared().durable;
        assert_eq!(durable.node, before, "{refusal:?}");
        assert!(durable.join.refused().is_some() && durable.join.registration().is_none());
        assert_eq!(
            durable.desired_app().map(|app| app.release.commit.clone()),
            Some(commit(2))
        );
        world.settle();
        assert_eq!(world.machine.shared().durable.node, before);
        assert_eq!(left(&world, "ForgetJoinToken"), 2);
    }
}

#[test]
fn a_replacement_that_is_accepted_ends_the_identity_before() {
    let mut world = World::enrolled();
    world.act(Action::Offer {
        token: 2,
        replace: true,
    });
    while next_call(&mut world, Reply::Good) != "Register" {}
    assert!(world.machine.shared().durable.earlier_node.is_some());
    next_call(&mut world, Reply::Unavailable);
    assert!(world.machine.shared().durable.earlier_node.is_some());
    next_call(&mut world, Reply::Good);
    let durable = &world.machine.shared().durable;
    assert!(durable.earlier_node.is_none() && durable.node.as_ref().is_some_and(|node| node.confirmed));
}

#[test]
fn a_cloudly_that_registers_and_refuses_heartbeats_is_not_called_without_a_pause() {
    for reply in [Reply::Refused, Reply::Gone] {
        let mut world = World::new(true);
        let end = world.now().boot + Duration::from_secs(3600);
        let mut calls = [0u32, 0];
        while world.now().boot < end && calls.iter().sum::<u32>() < 1000 {
            let Some((port, (_, effect))) = world.pending.first_key_value() else {
                world.act(Action::Elapse);
                continue;
            };
            let (port, is_register) = (*port, matches!(effect, Effect::Register { .. }));
            let answer = if is_register || port != Port::Cloudly {
                Reply::Good
            } else {
                reply
            };
            if port == Port::Cloudly {
                calls[usize::from(is_register)] += 1;
            }
            world.act(Action::Answer(port, answer));
        }
        let [heartbeats, registrations] = calls;
        assert!(
            (2..40).contains(&registrations) && heartbeats < 80,
            "{reply:?}: {registrations} registrations and {heartbeats} heartbeats in an hour"
        );
    }
}

/// A token that waits for a node that Cloudly no longer knows is not given up while Cloudly is away.
#[test]
fn a_node_that_is_no_longer_known_enrols_with_the_token_it_has_when_cloudly_is_back() {
    for reply in [Reply::Refused, Reply::Gone] {
        let mut world = World::enrolled();
        next_call(&mut world, reply);
        world.act(Action::Offer {
            token: 2,
            replace: false,
        });
        for _ in 0..40 {
            next_call(&mut world, Reply::Unavailable);
        }
        let mut registered = false;
        for _ in 0..40 {
            let is_register = matches!(
                world.pending.get(&Port::Cloudly),
                Some((_, Effect::Register { .. }))
            );
            registered |= is_register;
            next_call(&mut world, if registered { Reply::Good } else { reply });
            while !world.pending.contains_key(&Port::Cloudly) {
                world.act(Action::Elapse);
            }
        }
        let node = world.machine.shared().durable.node.clone().unwrap();
        assert!(registered && node.confirmed, "{reply:?}");
        assert_ne!(
            node.id,
            World::enrolled()
                .machine
                .shared()
                .durable
                .node
                .clone()
                .unwrap()
                .id
        );
    }
}
