//! What the doctor says of things that pass by themselves, and of those that do not.

use super::guard::armed;
use super::states::{good, handed_over, heard, last_answer, play};
use super::world::{Action, LocalRequest, PolicyKind, Reply, View, World, commit};
use crate::lifecycle::Event;
use crate::lifecycle::effect::{LocalAnswer, Port};
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::facts::{GuardFacts, HostFacts};
use crate::lifecycle::report::doctor::examine;
use crate::lifecycle::time::{Millis, Stamp};
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::local::Check;
use std::time::Duration;

fn check_at(world: &World, name: &str, boot: Millis) -> Check {
    let now = Stamp { boot, ..world.now() };
    let checks = examine(world.machine.shared(), world.machine.state(), now).checks;
    checks.into_iter().find(|check| check.name == name).unwrap()
}

fn check(world: &World, name: &str) -> Check {
    check_at(world, name, world.now().boot)
}

/// The last millisecond before.
fn before(at: Millis) -> Millis {
    Millis(at.0 - 1)
}

/// The guard reports what it holds.
fn guard_holds(world: &mut World, number: u8) {
    let guard = GuardFacts {
        boot_id: world.run_facts().boot_id,
        holds: Some(commit(number)),
        ..GuardFacts::default()
    };
    world.feed(Event::HostObserved(HostFacts {
        free_bytes: Some(1 << 30),
        guard: Some(guard),
        ..HostFacts::default()
    }));
}

#[test]
fn a_guard_that_was_just_added_is_waited_for_until_a_time_and_only_then_a_failure() {
    let mut world = armed();
    let due = world.machine.shared().arming.expected_by().unwrap();
    let waits = check_at(&world, "guard", before(due));
    assert!(waits.ok && waits.warning, "{waits:?}");
    let fact = "not armed: it has not reported since the device was booted; expected by 20";
    assert!(waits.fact.starts_with(fact), "{waits:?}");
    assert!(!check_at(&world, "guard", due).ok);
    guard_holds(&mut world, 1);
    let armed = check(&world, "guard");
    assert!(armed.ok && !armed.warning, "{armed:?}");
    assert_eq!(armed.fact, format!("armed, it holds {}", commit(1)));
    assert_eq!(world.machine.shared().arming.expected_by(), None);
    guard_holds(&mut world, 2);
    let due = world.machine.shared().arming.expected_by().unwrap();
    assert_eq!(due, world.now().boot + Duration::from_secs(120), "it begins anew");
}

#[test]
fn what_the_agent_waits_for_before_it_adds_its_guard_is_named() {
    let mut world = World::guarded();
    heard(&mut world, 1, PolicyKind::Plain);
    world.act(Action::Request(LocalRequest::Lock));
    for _ in 0..20 {
        world.act(Action::Observe(View::Actual));
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
    }
    assert!(world.machine.shared().durable.proven.is_some());
    let waits = check_at(&world, "guard", Millis(u64::MAX));
    let fact = "not armed: its container does not run; the agent adds it after the update locks have ended";
    assert!(waits.ok && waits.warning && waits.fact == fact, "{waits:?}");
    let before = world.machine.shared().arming.expected_by().unwrap();
    world.act(Action::Pass(1));
    world.act(Action::Request(LocalRequest::Unlock));
    let due = world.machine.shared().arming.expected_by().unwrap();
    assert!(due > before, "from when it is added: {before:?}, {due:?}");
}

#[test]
fn nothing_is_late_before_a_release_has_proved_itself() {
    let mut world = World::guarded();
    world.act(Action::Observe(View::Actual));
    assert_eq!(world.machine.shared().arming.expected_by(), None);
    let check = check_at(&world, "guard", Millis(u64::MAX));
    assert!(check.ok && check.warning, "{check:?}");
    assert!(check.fix.unwrap().contains("set a release desired"));
}

#[test]
fn a_trial_is_a_warning_with_its_end_until_it_is_over() {
    let mut world = armed();
    guard_holds(&mut world, 1);
    handed_over(&mut world, 2, PolicyKind::Plain);
    let due = world.machine.shared().durable.guard.trial_due().unwrap();
    let trial = check_at(&world, "guard", before(due));
    assert!(trial.ok && trial.warning, "{trial:?}");
    let fact = format!("the agent of release {} has to prove itself until 20", commit(2));
    assert!(trial.fact.starts_with(&fact), "{trial:?}");
    assert!(!check_at(&world, "guard", due).ok);
}

#[test]
fn the_identity_of_a_removed_node_is_not_called_well() {
    let mut world = World::enrolled();
    assert!(check(&world, "identity").ok);
    play(
        &mut world,
        &[Action::Elapse, Action::Answer(Port::Cloudly, Reply::Gone)],
    );
    let identity = check(&world, "identity");
    assert!(!identity.ok, "{identity:?}");
    assert!(
        identity
            .fact
            .ends_with("; an operator has removed this node from Cloudly"),
        "{identity:?}"
    );
    assert!(identity.fix.unwrap().contains("baserunner join"));
}

#[test]
fn lock_files_that_a_forced_update_takes_are_not_said_to_be_in_its_way() {
    let mut world = World::enrolled();
    while world.act(good(Port::LockFiles)) {}
    world.act(Action::Request(LocalRequest::Lock));
    play(&mut world, &[good(Port::LockFiles)]);
    handed_over(&mut world, 2, PolicyKind::Forced);
    world.feed(Event::HostObserved(HostFacts {
        own_locks: Some(0),
        ..HostFacts::default()
    }));
    play(&mut world, &[Action::Answer(Port::LockFiles, Reply::Refused)]);
    let detail = world.machine.shared().issues.detail(&IssueCode::LockFilesNotHeld);
    let says = "an operator's order lets the update go ahead despite the locks, which count again after it (";
    assert!(detail.unwrap().starts_with(says), "{detail:?}");
    let locks = check(&world, "locks");
    assert!(
        locks.ok && locks.warning && locks.fact.starts_with(says),
        "{locks:?}"
    );
    world.request(LocalCall::Locks);
    let LocalAnswer::Locks(answer) = last_answer(&world) else {
        panic!("{:?}", last_answer(&world))
    };
    assert!(answer.draining && answer.forced);
}

#[test]
fn the_open_api_of_an_unmanaged_supervisor_leads_to_the_lines_that_close_it() {
    let world = World::enrolled();
    let place = "docs/operate/devices.md#close-the-supervisors-port";
    let detail = world
        .machine
        .shared()
        .issues
        .detail(&IssueCode::SupervisorApiExposed);
    assert!(detail.unwrap().ends_with(place), "{detail:?}");
    assert!(check(&world, "supervisor API").fix.unwrap().ends_with(place));
}
