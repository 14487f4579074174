//! Each cause: reported while it lasts, and gone when it ended.

use super::*;
use crate::lifecycle::effect::LocalAnswer;
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::progress::fact::LogFact;
use crate::lifecycle::{Effect, Event};
use baseos_interfaces::local::{Locks, ServiceLock};

#[test]
fn a_failed_pull_is_reported_while_it_lasts() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::PullBegan), Action::Log(Line::Away)],
    );
    let first = only_blocker(&world);
    assert_eq!(first.kind, BlockerKind::PullFailing);
    assert_eq!(first.holder, Some(world.onebox_image()));
    let reason = first.reason.clone().unwrap();
    assert!(reason.starts_with("the registry does not answer"), "{reason}");
    assert!(
        sentence(&world).contains("held up: pullFailing, registry.example/onebox"),
        "{}",
        sentence(&world)
    );
    // Tried again and again: the same reason, with the same beginning.
    play(
        &mut world,
        &[
            Action::Pass(5),
            Action::Observe(View::Stuck),
            Action::Log(Line::PullBegan),
            Action::Log(Line::Away),
        ],
    );
    assert_eq!(only_blocker(&world), first);
    play(
        &mut world,
        &[Action::Log(Line::PullBegan), Action::Log(Line::PullDone)],
    );
    assert_eq!(blockers(&world), []);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_pull_that_goes_on_where_it_failed_is_no_longer_reported_as_failing() {
    let mut world = applying();
    play(
        &mut world,
        &[
            Action::Log(Line::PullBegan),
            Action::Observe(View::Fetching(37)),
            Action::Log(Line::DiskFull),
        ],
    );
    assert_eq!(blockers(&world), [BlockerKind::DiskFull]);
    // Each try begins anew and gets as far as the one before.
    for percent in [0, 20, 37] {
        play(
            &mut world,
            &[
                Action::Log(Line::PullBegan),
                Action::Pass(12),
                Action::Observe(View::Fetching(percent)),
            ],
        );
        assert_eq!(blockers(&world), [BlockerKind::DiskFull], "{percent} %");
    }
    world.act(Action::Observe(View::Fetching(38)));
    assert_eq!(blockers(&world), []);
}

#[test]
fn a_lock_of_another_service_is_named_and_gone_when_containers_change() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::PullDone), Action::Log(Line::Locked)],
    );
    let lock = only_blocker(&world);
    assert_eq!(
        (lock.kind, lock.holder.as_deref()),
        (BlockerKind::LocalLock, Some("onebox"))
    );
    play(&mut world, &[Action::Pass(8), Action::Log(Line::Locked)]);
    assert_eq!(only_blocker(&world).since, lock.since);
    world.act(Action::Log(Line::Stopping));
    assert_eq!(blockers(&world), []);
}

/// The newest answer to `GET /v1/locks`.
fn locks(world: &mut World) -> Locks {
    world.request(LocalCall::Locks);
    let answers = world.effects.iter().rev().filter_map(|effect| match effect {
        Effect::Reply { answer, .. } => Some(&**answer),
        _ => None,
    });
    let mut locks = answers.filter_map(|answer| match answer {
        LocalAnswer::Locks(locks) => Some(locks.clone()),
        _ => None,
    });
    locks.next().unwrap()
}

#[test]
fn a_lock_that_only_the_supervisor_met_is_among_the_locks_as_no_lease() {
    let mut world = applying();
    world.act(Action::Log(Line::PullDone));
    assert_eq!(locks(&mut world).services, []);
    world.act(Action::Log(Line::Locked));
    let since = world.now().wall;
    world.act(Action::Pass(8));
    let met = locks(&mut world);
    let of = |service: &str| ServiceLock {
        service: Some(service.to_owned()),
        since,
    };
    assert_eq!((met.locks, met.services), (vec![], vec![of("onebox")]));
    world.act(Action::Log(Line::Stopping));
    assert_eq!(locks(&mut world).services, []);
}

#[test]
fn the_lock_files_of_a_lease_are_no_lock_of_a_service() {
    let mut world = applying();
    world.act(Action::Request(LocalRequest::Lock));
    play(&mut world, &[good(Port::LockFiles)]);
    let own = LogFact::Locked {
        service: Some("baserunner".to_owned()),
        retry_millis: 1000,
    };
    world.feed(Event::SupervisorLogged(own));
    let met = locks(&mut world);
    assert_eq!((met.locks.len(), met.services), (1, vec![]));
    assert_eq!(only_blocker(&world).holder.as_deref(), Some("onebox"));
}

#[test]
fn a_start_that_fails_is_reported_until_the_service_has_started() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::Stopping), Action::Log(Line::Starting)],
    );
    assert_eq!(blockers(&world), [], "one start is under way");
    world.act(Action::Log(Line::Starting));
    let start = only_blocker(&world);
    assert_eq!(
        (start.kind, start.holder.as_deref()),
        (BlockerKind::StartFailing, Some("onebox"))
    );
    world.act(Action::Log(Line::Started));
    assert_eq!(blockers(&world), []);
}

#[test]
fn two_causes_are_both_reported_and_each_ends_by_itself() {
    let mut world = applying();
    play(&mut world, &[Action::Log(Line::Away), Action::Log(Line::Locked)]);
    assert_eq!(
        blockers(&world),
        [BlockerKind::PullFailing, BlockerKind::LocalLock]
    );
    let text = sentence(&world);
    assert!(
        text.contains("pullFailing, ") && text.contains("; localLock, onebox"),
        "{text}"
    );
    world.act(Action::Observe(View::Silent));
    assert_eq!(
        blockers(&world),
        [
            BlockerKind::SupervisorUnavailable,
            BlockerKind::PullFailing,
            BlockerKind::LocalLock
        ],
        "it may only be slow: the log is still read"
    );
    play(
        &mut world,
        &[Action::Observe(View::Fetching(0)), Action::Log(Line::PullDone)],
    );
    assert_eq!(blockers(&world), [BlockerKind::LocalLock]);
}

#[test]
fn a_supervisor_whose_process_ended_waits_for_nothing_any_more() {
    let mut world = applying();
    play(
        &mut world,
        &[
            Action::Log(Line::Away),
            Action::Log(Line::Lost),
            Action::Observe(View::Silent),
        ],
    );
    assert_eq!(blockers(&world), [BlockerKind::SupervisorUnavailable]);
    play(
        &mut world,
        &[Action::Log(Line::Opened), Action::Observe(View::Fetching(1))],
    );
    assert_eq!(blockers(&world), []);
}

#[test]
fn a_cause_whose_line_was_missed_is_a_guess_from_the_state_until_a_line_says_more() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::Lost), Action::Observe(View::Stuck)],
    );
    let guess = only_blocker(&world);
    assert_eq!(guess.kind, BlockerKind::PullFailing);
    assert!(
        guess
            .reason
            .unwrap()
            .starts_with("a guess from the Supervisor's state")
    );
    play(
        &mut world,
        &[
            Action::Log(Line::Opened),
            Action::Pass(8),
            Action::Log(Line::Locked),
        ],
    );
    let lock = only_blocker(&world);
    assert_eq!(
        (lock.kind, lock.holder.as_deref()),
        (BlockerKind::LocalLock, Some("onebox"))
    );
    play(
        &mut world,
        &[Action::Log(Line::Stopping), Action::Observe(View::Working)],
    );
    assert_eq!(blockers(&world), []);
}

#[test]
fn a_restarted_agent_keeps_since_when_a_cause_holds() {
    let mut world = applying();
    world.act(Action::Log(Line::Away));
    let before = only_blocker(&world);
    play(&mut world, &[Action::Pass(60), Action::Restart { reboot: false }]);
    while world.act(good(Port::Supervisor)) {}
    world.act(Action::Observe(View::Stuck));
    let guess = only_blocker(&world);
    assert_eq!((guess.kind, guess.since), (before.kind, before.since));
}

#[test]
fn the_back_off_of_an_earlier_target_is_reported_with_its_latest_end() {
    let mut world = applying();
    play(
        &mut world,
        &[Action::Log(Line::Away), Action::Observe(View::Stuck)],
    );
    // It has failed for 20 s when the next target comes, so it pauses for at most as long.
    world.act(Action::Pass(20));
    handed_over(&mut world, 2, PolicyKind::Plain);
    let pause = only_blocker(&world);
    assert_eq!(pause.kind, BlockerKind::SupervisorBackoff);
    let latest = pause.expires_at.unwrap().as_millisecond() - pause.since.as_millisecond();
    assert!((20_000..=60_000).contains(&latest), "{latest} ms");
    world.act(Action::Log(Line::PullBegan));
    assert_eq!(blockers(&world), []);
}

#[test]
fn a_back_off_that_the_log_gave_a_time_for_ends_then() {
    let mut world = applying();
    world.feed(Event::SupervisorLogged(LogFact::Locked {
        service: Some("onebox".to_owned()),
        retry_millis: 500_000,
    }));
    let until = world.now().wall.as_millisecond() + 500_000;
    world.act(Action::Observe(View::Stuck));
    handed_over(&mut world, 2, PolicyKind::Plain);
    let pause = only_blocker(&world);
    assert_eq!(pause.kind, BlockerKind::SupervisorBackoff);
    assert_eq!(pause.expires_at.unwrap().as_millisecond(), until);
}

#[test]
fn a_change_of_causes_is_reported_to_cloudly_at_once() {
    let mut world = applying();
    pass(&mut world, 300);
    world.act(Action::Log(Line::Away));
    let due = world.machine.shared().timers.get(Timer::Heartbeat);
    let soon = world.pending.contains_key(&Port::Cloudly)
        || due.is_some_and(|at| at.since(world.now().boot) <= Duration::from_secs(10));
    assert!(soon, "{due:?} at {:?}", world.now());
}

#[test]
fn a_way_back_that_is_held_up_says_why() {
    let mut world = applying();
    world.act(Action::Desire(0, PolicyKind::Plain));
    while world.machine.agent_state() != AgentState::RollbackNeeded {
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        world.act(Action::Elapse);
    }
    while world.act(good(Port::Supervisor)) {}
    play(
        &mut world,
        &[Action::Log(Line::Away), Action::Observe(View::Stuck)],
    );
    assert_eq!(blockers(&world), [BlockerKind::PullFailing]);
    assert!(
        sentence(&world).contains("Held up: pullFailing"),
        "{}",
        sentence(&world)
    );
    pass(&mut world, 3600);
    assert_eq!(
        world.machine.agent_state(),
        AgentState::RollbackNeeded,
        "not given up"
    );
    world.settle();
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
}

/// The first heartbeat from here on whose status has this reason.
fn reported_after(world: &mut World, kind: BlockerKind) -> Duration {
    let begun = world.now().boot;
    let sent = world.effects.len();
    loop {
        let statuses = world.effects[sent..].iter().filter_map(|effect| match effect {
            Effect::Heartbeat { heartbeat, .. } => heartbeat.status.as_ref(),
            _ => None,
        });
        let mut blockers = statuses.flat_map(|status| &status.update.blocked_by);
        if blockers.any(|blocker| blocker.kind == kind) {
            return world.now().boot.since(begun);
        }
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        assert!(world.act(Action::Elapse));
    }
}

#[test]
fn each_cause_leaves_for_cloudly_within_ten_seconds() {
    use Line::{Away, DiskFull, Locked, PullBegan, Starting, Stopping};
    for (lines, kind) in [
        (&[PullBegan, Away][..], BlockerKind::PullFailing),
        (&[PullBegan, DiskFull], BlockerKind::DiskFull),
        (&[Locked], BlockerKind::LocalLock),
        (&[Stopping, Starting, Starting], BlockerKind::StartFailing),
    ] {
        let mut world = applying();
        // Whenever it comes: right after a heartbeat too.
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        world.act(good(Port::Cloudly));
        for line in lines {
            world.act(Action::Log(*line));
        }
        assert_eq!(blockers(&world), [kind], "on the device at once");
        let after = reported_after(&mut world, kind);
        assert!(after <= Duration::from_secs(10), "{kind:?}: {after:?}");
    }
}

/// A lease is among the locks that a failing step may meet only where nothing says more and nobody forces the update.
#[test]
fn a_lease_is_no_reason_beside_one_that_is_known_and_none_for_a_forced_update() {
    for (policy, line, lease) in [
        (PolicyKind::Plain, None, true),
        (PolicyKind::Plain, Some(Line::Away), false),
        (PolicyKind::Forced, None, false),
        (PolicyKind::Forced, Some(Line::Away), false),
    ] {
        let mut world = proven(2);
        let lock = [Action::Request(LocalRequest::Lock), good(Port::LockFiles)];
        if policy == PolicyKind::Forced {
            play(&mut world, &lock);
        }
        handed_over(&mut world, 4, policy);
        play(&mut world, &[Action::Observe(View::Fetching(0))]);
        if policy == PolicyKind::Plain {
            play(&mut world, &lock);
        }
        play(&mut world, &[Action::Log(Line::Lost)]);
        if let Some(line) = line {
            play(&mut world, &[Action::Log(line)]);
        }
        play(&mut world, &[Action::Observe(View::Stuck)]);
        let named = update(&world).blocked_by;
        let has_lease = named
            .iter()
            .any(|blocker| blocker.holder.as_deref() == Some("onebox"));
        assert_eq!(has_lease, lease, "{policy:?} {line:?}: {named:?}");
    }
}
