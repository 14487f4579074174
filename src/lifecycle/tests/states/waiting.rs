use super::*;
use baseos_interfaces::desired::PlatformImage;

fn waits(rule: PolicyKind, prepare: &[Action]) -> World {
    let mut world = World::enrolled();
    play(&mut world, prepare);
    heard(&mut world, 2, rule);
    while world.pending.contains_key(&Port::Supervisor) {
        world.act(good(Port::Supervisor));
    }
    assert_eq!(
        world.machine.agent_state(),
        AgentState::Waiting,
        "{:?}",
        world.machine.state()
    );
    assert_eq!(left(&world, "ApplyTarget"), 0);
    world
}

#[test]
fn each_reason_to_wait_is_named() {
    assert_eq!(
        blockers(&waits(PolicyKind::NeedsApproval, &[])),
        [BlockerKind::Approval]
    );
    assert_eq!(
        blockers(&waits(PolicyKind::NoSlot, &[])),
        [BlockerKind::RolloutSlot]
    );
    assert_eq!(
        blockers(&waits(PolicyKind::Plain, &[Action::Request(LocalRequest::Lock)])),
        [BlockerKind::LocalLock]
    );
    let full = Action::Host {
        locked: false,
        full: true,
    };
    assert_eq!(
        blockers(&waits(PolicyKind::Plain, &[full])),
        [BlockerKind::DiskSpace]
    );
    let locked = Action::Host {
        locked: true,
        full: false,
    };
    assert_eq!(
        blockers(&waits(PolicyKind::Plain, &[locked])),
        [BlockerKind::LocalLock]
    );
    assert_eq!(
        blockers(&waits(PolicyKind::Plain, &[Action::Disk { works: false }])),
        [BlockerKind::StateNotWritable]
    );
}

#[test]
fn approval_and_the_end_of_a_lock_let_it_go_on_at_once() {
    let mut world = waits(PolicyKind::NeedsApproval, &[]);
    world.act(Action::Request(LocalRequest::Approve));
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
    let mut world = waits(PolicyKind::Plain, &[Action::Request(LocalRequest::Lock)]);
    world.act(Action::Request(LocalRequest::Unlock));
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

#[test]
fn a_lock_that_is_not_renewed_ends_by_itself() {
    let mut world = waits(PolicyKind::Plain, &[Action::Request(LocalRequest::Lock)]);
    while world.machine.agent_state() == AgentState::Waiting {
        if !world.act(good(Port::Cloudly)) {
            assert!(world.act(Action::Elapse));
        }
    }
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

#[test]
fn a_deferral_is_bounded_by_the_policy_and_ends_by_itself() {
    let mut world = waits(PolicyKind::NeedsApproval, &[]);
    world.act(Action::Request(LocalRequest::Defer));
    assert!(blockers(&world).contains(&BlockerKind::Deferred));
    world.act(Action::Pass(1));
    for _ in 0..60 {
        world.act(good(Port::Cloudly));
        world.act(Action::Elapse);
    }
    assert!(!blockers(&world).contains(&BlockerKind::Deferred));
}

#[test]
fn an_audited_force_overrides_locks_approval_and_deferral() {
    let mut world = waits(PolicyKind::NeedsApproval, &[Action::Request(LocalRequest::Lock)]);
    world.act(Action::Desire(2, PolicyKind::Forced));
    while world.machine.agent_state() == AgentState::Waiting {
        if !world.act(good(Port::Cloudly)) {
            assert!(world.act(Action::Elapse));
        }
    }
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

#[test]
fn while_only_locks_are_in_the_way_no_new_one_is_given() {
    let mut world = waits(
        PolicyKind::Plain,
        &[Action::Host {
            locked: true,
            full: false,
        }],
    );
    world.act(Action::Request(LocalRequest::Lock));
    let LocalAnswer::Problem(problem) = last_answer(&world) else {
        panic!()
    };
    assert_eq!((problem.status, problem.retryable), (423, true));
    assert!(problem.retry_after_seconds.is_some());
}

#[test]
fn a_restart_does_not_begin_what_a_full_disk_or_a_foreign_lock_held_back() {
    for (locked, full) in [(false, true), (true, false)] {
        for reboot in [false, true] {
            let mut world = World::enrolled();
            world.act(Action::Host { locked, full });
            heard(&mut world, 2, PolicyKind::Plain);
            play(&mut world, &[good(Port::Supervisor)]);
            let before = blockers(&world);
            assert_eq!(world.machine.agent_state(), AgentState::Waiting);
            world.act(Action::Restart { reboot });
            assert_eq!(
                (world.machine.agent_state(), blockers(&world)),
                (AgentState::Waiting, before.clone())
            );
            world.act(Action::Host { locked, full });
            assert_eq!(
                (world.machine.agent_state(), blockers(&world)),
                (AgentState::Waiting, before)
            );
            world.settle();
            assert_eq!(wire(&world), UpdateState::Succeeded);
        }
    }
}

#[test]
fn a_suspected_clone_holds_an_update_back_until_it_is_cleared() {
    let mut world = waits(PolicyKind::NeedsApproval, &[]);
    let hear = |world: &mut World, suspected| {
        world.clone_suspected = suspected;
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        world.act(good(Port::Cloudly));
    };
    hear(&mut world, true);
    assert!(blockers(&world).contains(&BlockerKind::CloneSuspected));
    world.act(Action::Request(LocalRequest::Approve));
    assert_eq!(blockers(&world), [BlockerKind::CloneSuspected]);
    hear(&mut world, false);
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

#[test]
fn a_suspected_clone_is_the_reason_why_an_update_does_not_begin() {
    let mut world = proven(2);
    // Release 4 is desired, and nothing begun before the Supervisor was looked at.
    world.act(Action::Restart { reboot: false });
    heard(&mut world, 4, PolicyKind::Plain);
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
    world.clone_suspected = true;
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    world.act(good(Port::Cloudly));
    play(
        &mut world,
        &[Action::Observe(View::Actual), good(Port::Supervisor)],
    );
    assert_eq!(blockers(&world), [BlockerKind::CloneSuspected]);
    assert_eq!(left(&world, "ApplyTarget"), 1, "that of release 2");
}

/// A release whose Onebox needs 900 MiB of 1 GiB, beside a reserve of 64 MiB; `present`: it is on the engine already.
fn world_with_a_large_image(mebibytes: u64, present: bool) -> World {
    let mut world = World::enrolled();
    let mut app = desired_app(2, PolicyKind::Plain);
    let image = PlatformImage {
        config_digest: None,
        size_bytes: Some(mebibytes << 20),
    };
    let onebox = app.release.services.get_mut("onebox").unwrap();
    onebox.platforms.insert("linux/amd64".to_owned(), image);
    if present {
        world.present_images.push(onebox.image.clone());
    }
    world.desire_app(Some(app));
    world.act(Action::Host {
        locked: false,
        full: false,
    });
    world.settle();
    world
}

#[test]
fn a_download_does_not_begin_without_room_for_it_and_the_reserve() {
    let world = world_with_a_large_image(961, false);
    assert_eq!(blockers(&world), [BlockerKind::DiskSpace]);
    assert_eq!(left(&world, "ApplyTarget"), 0);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(
        summary.contains("1024 MiB free, 1025 MiB needed (961 to download and a reserve of 64)"),
        "{summary}"
    );
    assert_eq!(left(&world_with_a_large_image(960, false), "ApplyTarget"), 1);
}

#[test]
fn an_image_that_is_there_already_needs_no_room() {
    assert_eq!(left(&world_with_a_large_image(2000, true), "ApplyTarget"), 1);
}
