//! Leases beside an update, and balena's lock files that follow them.

use super::*;
use crate::lifecycle::facts::HostFacts;
use baseos_interfaces::local::Lock;

/// The answers to requests for the lock, newest last.
fn answers(world: &World) -> Vec<Result<Lock, u16>> {
    let answers = world.effects.iter().filter_map(|effect| match effect {
        Effect::Reply { answer, .. } => match &**answer {
            LocalAnswer::Lock(lock) => Some(Ok(lock.clone())),
            LocalAnswer::Problem(problem) => Some(Err(problem.status)),
            _ => None,
        },
        _ => None,
    });
    answers.collect()
}

/// Release 2 has been handed over and is being fetched.
fn fetching(rule: PolicyKind) -> World {
    let mut world = World::enrolled();
    while world.act(good(Port::LockFiles)) {}
    handed_over(&mut world, 2, rule);
    play(&mut world, &[Action::Observe(View::Working)]);
    world
}

#[test]
fn a_lease_is_granted_while_images_are_fetched_once_the_lock_files_are_held() {
    let mut world = fetching(PolicyKind::Plain);
    let before = answers(&world).len();
    world.act(Action::Request(LocalRequest::Lock));
    assert_eq!(answers(&world).len(), before, "the lock files decide");
    play(&mut world, &[good(Port::LockFiles)]);
    assert!(matches!(answers(&world).last(), Some(Ok(_))));
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    // A renewal needs nobody's consent.
    world.act(Action::Request(LocalRequest::Lock));
    assert_eq!(answers(&world).len(), before + 2);
}

#[test]
fn a_lease_is_refused_when_the_supervisor_has_the_lock_files_already() {
    let mut world = fetching(PolicyKind::Plain);
    world.act(Action::Request(LocalRequest::Lock));
    play(&mut world, &[Action::Answer(Port::LockFiles, Reply::Refused)]);
    assert_eq!(answers(&world).last(), Some(&Err(423)));
    assert_eq!(world.machine.shared().durable.leases.iter().count(), 0);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn no_lease_is_granted_while_containers_are_changed_or_against_an_order_to_go_ahead() {
    let mut forced = fetching(PolicyKind::Forced);
    forced.act(Action::Request(LocalRequest::Lock));
    assert_eq!(answers(&forced).last(), Some(&Err(423)));
    let mut verifying = fetching(PolicyKind::Plain);
    play(&mut verifying, &[Action::Observe(View::Actual)]);
    assert_eq!(verifying.machine.agent_state(), AgentState::Verifying);
    verifying.act(Action::Request(LocalRequest::Lock));
    assert_eq!(answers(&verifying).last(), Some(&Err(423)));
}

#[test]
fn a_lease_that_holds_the_hand_over_is_named_and_its_time_is_not_the_releases_fault() {
    let mut world = fetching(PolicyKind::Plain);
    world.act(Action::Request(LocalRequest::Lock));
    play(&mut world, &[good(Port::LockFiles)]);
    let mut stuck = match &world.machine.shared().supervisor {
        Some(Ok(view)) => view.clone(),
        other => panic!("{other:?}"),
    };
    stuck.update_failed = true;
    world.feed(Event::SupervisorObserved(Box::new(Ok(stuck))));
    assert_eq!(blockers(&world), [BlockerKind::LocalLock]);
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    assert_eq!(update.blocked_by[0].holder.as_deref(), Some("onebox"));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn lock_files_that_are_removed_while_a_lease_lives_are_made_again() {
    let mut world = World::enrolled();
    while world.act(good(Port::LockFiles)) {}
    world.act(Action::Request(LocalRequest::Lock));
    play(&mut world, &[good(Port::LockFiles)]);
    let held = left(&world, "HoldLockFiles");
    let look = |own: u8| {
        Event::HostObserved(HostFacts {
            own_locks: Some(own),
            ..HostFacts::default()
        })
    };
    world.feed(look(2));
    assert_eq!(left(&world, "HoldLockFiles"), held, "they are there");
    world.feed(look(0));
    assert_eq!(left(&world, "HoldLockFiles"), held + 1);
    play(
        &mut world,
        &[good(Port::LockFiles), Action::Request(LocalRequest::Unlock)],
    );
    while world.act(good(Port::LockFiles)) {}
    world.feed(look(0));
    assert_eq!(left(&world, "HoldLockFiles"), held + 1, "no lease lives");
}

#[test]
fn a_lock_directory_that_cannot_be_written_is_an_issue_of_its_own() {
    let mut world = World::enrolled();
    let problem = "/tmp/balena belongs to user 0 alone";
    world.feed(Event::HostObserved(HostFacts {
        lock_dir_problem: Some(problem.to_owned()),
        ..HostFacts::default()
    }));
    let status = report::status::node_status(world.machine.shared(), world.machine.state());
    let found = status
        .health
        .issues
        .into_iter()
        .find(|issue| issue.code == "lockDirNotWritable");
    assert_eq!(found.unwrap().detail.as_deref(), Some(problem));
}
