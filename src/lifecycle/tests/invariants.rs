//! What must never happen, over any sequence of events.

use crate::lifecycle::effect::Port;
use crate::lifecycle::tests::diagram::render::has_arrow;
use crate::lifecycle::tests::states::handed_over;
use crate::lifecycle::tests::world::{
    Action, CommandKind, Line, LocalRequest, PolicyKind, Reply, View, World, commit,
};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::{Checkpoint, Effect, Machine};
use baseos_interfaces::states::AgentState;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeSet;

fn line() -> impl Strategy<Value = Line> {
    proptest::sample::select(vec![
        Line::Opened,
        Line::Lost,
        Line::PullBegan,
        Line::PullDone,
        Line::Missing,
        Line::Away,
        Line::DiskFull,
        Line::Locked,
        Line::Stopping,
        Line::Starting,
        Line::Started,
    ])
}

fn action() -> impl Strategy<Value = Action> {
    let reply = prop_oneof![
        6 => Just(Reply::Good), 1 => Just(Reply::Refused), 1 => Just(Reply::Gone), 1 => Just(Reply::Unavailable)
    ];
    let port = prop_oneof![4 => Just(Port::Cloudly), 4 => Just(Port::Supervisor), 1 => Just(Port::LockFiles)];
    let view = prop_oneof![
        5 => Just(View::Actual), 2 => Just(View::Working), 2 => Just(View::Unhealthy), 1 => Just(View::Silent), 1 => Just(View::Foreign),
        1 => Just(View::Unreplaced), 1 => Just(View::Stuck), 1 => (0u8..=100).prop_map(View::Fetching), 1 => Just(View::Absent)
    ];
    let turn = prop_oneof![
        2 => Just(View::Actual), 1 => Just(View::Working), 1 => Just(View::Unhealthy), 1 => Just(View::Foreign), 1 => Just(View::Unreplaced)
    ];
    let rule = prop_oneof![
        5 => Just(PolicyKind::Plain), 1 => Just(PolicyKind::ReportOnly), 1 => Just(PolicyKind::NeedsApproval), 1 => Just(PolicyKind::NoSlot), 2 => Just(PolicyKind::Forced)
    ];
    let request = prop_oneof![
        Just(LocalRequest::Status),
        Just(LocalRequest::Check),
        Just(LocalRequest::Approve),
        Just(LocalRequest::Defer),
        Just(LocalRequest::Lock),
        Just(LocalRequest::Unlock),
        Just(LocalRequest::Doctor)
    ];
    let command = prop_oneof![
        Just(CommandKind::Check),
        Just(CommandKind::RestartService),
        Just(CommandKind::StopService),
        Just(CommandKind::Reboot)
    ];
    prop_oneof![
        8 => Just(Action::Elapse),
        1 => (1u32..4000).prop_map(Action::Pass),
        12 => (port, reply).prop_map(|(port, reply)| Action::Answer(port, reply)),
        6 => view.prop_map(Action::Observe),
        1 => Just(Action::Exit),
        1 => Just(Action::LoseTarget),
        1 => turn.prop_map(Action::Turn),
        1 => (1u8..=4).prop_map(Action::Post),
        2 => line().prop_map(Action::Log),
        3 => (0u8..=5, rule).prop_map(|(number, rule)| Action::Desire(number, rule)),
        1 => command.prop_map(Action::Command),
        2 => request.prop_map(Action::Request),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(locked, full)| Action::Host { locked, full }),
        1 => any::<bool>().prop_map(|works| Action::Disk { works }),
        1 => (0u8..4, any::<bool>()).prop_map(|(token, replace)| Action::Offer { token, replace }),
        1 => any::<i16>().prop_map(|days| Action::SetClock { days }),
        1 => any::<bool>().prop_map(|reboot| Action::Restart { reboot }),
    ]
}

fn played(actions: &[Action], enrolled: bool) -> World {
    let world = if enrolled {
        World::enrolled()
    } else {
        World::new(false)
    };
    played_in(world, actions)
}

/// In a world with or without the guard of the agent's own update.
fn played_guarded(actions: &[Action], guarded: bool) -> World {
    let world = if guarded {
        World::guarded()
    } else {
        World::enrolled()
    };
    played_in(world, actions)
}

fn played_in(mut world: World, actions: &[Action]) -> World {
    for action in actions {
        world.act(*action);
    }
    world
}

/// New failures are written beside this file; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say how much is walked and where
/// (`tests/run` prints the seed).
fn config() -> ProptestConfig {
    const FAILURES: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/lifecycle/tests/invariants.proptest-regressions"
    );
    ProptestConfig {
        cases: 192,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(FAILURES))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// At most one operation a port, nothing but Register before enrolment, timers only where they belong, attempts
    /// within the budget, and nobody waits without a reason.
    #[test]
    fn keeps_to_the_invariants_over_any_sequence_of_events(actions in vec(action(), 0..120), enrolled: bool) {
        let world = played(&actions, enrolled);
        prop_assert!(world.faults.is_empty(), "{:#?}", world.faults);
    }

    /// The same with the guard of the agent's own update, up to an end that the reference model allows.
    #[test]
    fn keeps_to_the_invariants_with_a_guard_too(actions in vec(action(), 0..100), guarded: bool) {
        let mut world = played_guarded(&actions, guarded);
        world.settle();
        world.settle();
        prop_assert!(world.faults.is_empty(), "{:#?}", world.faults);
        let wrong = world.model.ends().violated_by(&world);
        prop_assert!(wrong.is_none(), "{}\n{:#?}", wrong.unwrap_or_default(), world.machine.state());
        let durable = &world.machine.shared().durable;
        prop_assert!(durable.guard.trial().is_none() || world.machine.agent_state() != AgentState::Idle);
    }

    /// The same log gives the same steps, to the letter.
    #[test]
    fn the_same_log_gives_the_same_effects(actions in vec(action(), 0..80)) {
        let actions: Vec<_> = actions.into_iter().filter(|a| !matches!(a, Action::Restart { .. })).collect();
        let world = World::new(true);
        let (run, start) = (world.run_facts(), world.now());
        let mut world = world;
        for action in &actions {
            world.act(*action);
        }
        let (mut machine, _) = Machine::resume(Checkpoint::default(), run, start);
        for ((now, event), (_, recorded)) in world.log.iter().zip(world.steps.iter().skip(1)) {
            let step = machine.step(event, *now);
            prop_assert_eq!(serde_json::to_string(&step).unwrap(), serde_json::to_string(recorded).unwrap());
        }
    }

    /// A checkpoint reads back as what it was, and resuming from it enters the very state it was taken in.
    #[test]
    fn a_checkpoint_reads_back_as_it_was_written(actions in vec(action(), 0..80)) {
        let world = played(&actions, true);
        let json = serde_json::to_value(&world.disk).unwrap();
        let back = crate::lifecycle::migrate::migrate(json).unwrap();
        prop_assert_eq!(&back, &world.disk);
    }

    /// Killed anywhere (and perhaps rebooted), the agent ends where it would have ended.
    #[test]
    fn a_restart_anywhere_changes_nothing_in_the_end(
        actions in vec(action(), 0..60), at in 0usize..60, reboot: bool,
    ) {
        let mut without = World::enrolled();
        let mut with = World::enrolled();
        for (index, action) in actions.iter().enumerate() {
            // What lives in memory only is not compared: a token that was offered, a deferral that ends by the clock.
            if matches!(action, Action::Restart { .. } | Action::Disk { .. } | Action::Offer { .. } | Action::Request(LocalRequest::Defer)) {
                continue;
            }
            // Where a withdrawn or bad release leaves off depends on how far it had come; a good one does not.
            let depends = matches!(
                action,
                Action::Desire(0 | 3 | 5, _)
                    | Action::Desire(_, PolicyKind::NeedsApproval | PolicyKind::NoSlot)
                    | Action::Observe(View::Unhealthy | View::Absent | View::Foreign | View::Unreplaced)
                    | Action::Turn(_)
                    | Action::Post(_)
                    | Action::LoseTarget
                    | Action::Answer(Port::Supervisor, Reply::Refused)
            );
            if depends {
                continue;
            }
            // An exit while the agent is away is not seen, so it cannot count; a refusal is final for whatever call
            // it meets, and which one that is depends on when the agent was away.
            if matches!(action, Action::Exit | Action::Answer(Port::Supervisor, Reply::Refused)) {
                continue;
            }
            for world in [&mut without, &mut with] {
                // How many attempts run out of time depends on when time passes; that is not what is held here.
                let runs_out = matches!(world.machine.next_timer(), Some((Timer::Deadline, _)));
                if !(runs_out && *action == Action::Elapse) {
                    world.act(*action);
                }
            }
            if index == at {
                with.act(Action::Restart { reboot });
            }
        }
        without.settle();
        with.settle();
        prop_assert!(with.faults.is_empty(), "{:#?}", with.faults);
        let end = |world: &World| {
            let book = &world.machine.shared().durable;
            let state = world.machine.agent_state();
            (book.node.as_ref().map(|node| node.id.clone()), book.revision(), state, world.target_commit())
        };
        prop_assert_eq!(end(&with), end(&without));
    }

    /// From wherever it is, a new good release brings the agent back to rest, with that release in place.
    #[test]
    fn a_new_good_release_brings_every_state_back_to_idle(actions in vec(action(), 0..100), enrolled: bool) {
        let mut world = played(&actions, enrolled);
        world.act(Action::Disk { works: true });
        // A new token gets every node in, whatever became of the ones before.
        world.act(Action::Offer { token: 9, replace: true });
        world.settle();
        let good = if world.machine.shared().durable.memory.known_bad(&commit(4)).is_some() { PolicyKind::Forced } else { PolicyKind::Plain };
        world.act(Action::Desire(4, good));
        world.settle();
        prop_assert_eq!(world.machine.agent_state(), AgentState::Idle, "{:?}", world.machine.state());
        prop_assert_eq!(world.target_commit(), Some(commit(4)));
        prop_assert!(world.faults.is_empty(), "{:#?}", world.faults);
    }

    /// Once the world lets it, the agent comes to an end that the reference model allows, and on the way does nothing
    /// that the model forbids.
    #[test]
    fn comes_to_an_end_that_the_reference_model_allows(actions in vec(action(), 0..100), enrolled: bool) {
        let mut world = played(&actions, enrolled);
        world.settle();
        // What was desired while Cloudly was away has come by now.
        world.settle();
        prop_assert!(world.undelivered().is_none() || world.machine.agent_state() == AgentState::Unenrolled);
        prop_assert!(world.faults.is_empty(), "{:#?}", world.faults);
        let wrong = world.model.ends().violated_by(&world);
        prop_assert!(wrong.is_none(), "{}\n{:#?}", wrong.unwrap_or_default(), world.machine.state());
    }

    /// The bad release never stays: with roll-back allowed, the agent ends with a release that proved itself.
    #[test]
    fn a_bad_release_is_tried_and_left_again(noise in vec(action(), 0..40)) {
        let mut world = World::enrolled();
        world.act(Action::Desire(2, PolicyKind::Plain));
        world.settle();
        for action in noise.iter().filter(|a| !matches!(a, Action::Desire(..) | Action::Offer { .. } | Action::Post(_) | Action::Turn(_) | Action::LoseTarget | Action::Observe(View::Foreign))) {
            world.act(*action);
        }
        world.settle();
        world.act(Action::Desire(3, PolicyKind::Plain));
        world.settle();
        prop_assert_eq!(world.target_commit(), Some(commit(2)), "{:?}", world.machine.state());
        prop_assert!(world.machine.shared().durable.memory.known_bad(&commit(3)).is_some());
        let before = world.effects.len();
        world.settle();
        let again = world.effects[before..].iter().any(|effect| effect.name() == "ApplyTarget");
        prop_assert!(!again, "a known-bad release is never tried again by itself");
    }
}

/// The walks above are worth nothing if they never get anywhere: together they must visit every state and let every
/// effect leave. And they take no way that the diagram does not show.
#[test]
fn walks_reach_every_state_and_effect_and_stay_on_the_diagram() {
    let picture = include_str!("../../../state-diagrams/lifecycle.md");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut states = BTreeSet::new();
    let mut effects = BTreeSet::new();
    for case in 0..2000 {
        let actions = vec(action(), 120).new_tree(&mut runner).unwrap().current();
        let mut world = if case % 4 == 0 {
            World::new(false)
        } else {
            World::enrolled()
        };
        // Some set out from an order to go ahead that comes after the hand-over, which chance rarely makes.
        if case % 8 == 1 {
            handed_over(&mut world, 4, PolicyKind::Plain);
            world.act(Action::Desire(4, PolicyKind::Forced));
        }
        for action in actions {
            world.act(action);
            states.insert(world.machine.agent_state().as_str());
        }
        effects.extend(world.effects.iter().map(Effect::name));
        for moved in world.steps.iter().flat_map(|(_, step)| &step.transitions) {
            assert!(
                has_arrow(picture, moved),
                "the diagram has no arrow for {moved:?}: give its walk a way there"
            );
        }
    }
    let every_state = [
        "unenrolled",
        "registering",
        "idle",
        "staging",
        "waiting",
        "applying",
        "verifying",
        "failed",
        "rollback-needed",
    ];
    for state in every_state {
        assert!(states.contains(state), "{state} was never visited");
    }
    for effect in [
        "Register",
        "Heartbeat",
        "Inspect",
        "ApplyTarget",
        "RestartApp",
        "RestartService",
        "StopService",
        "StartService",
        "Reboot",
        "HoldLockFiles",
        "ReleaseLockFiles",
        "Reply",
        "Publish",
        "ForgetJoinToken",
        "SetCertificateTimes",
        "SetPollRate(fast)",
        "SetPollRate(slow)",
    ] {
        assert!(effects.contains(effect), "{effect} never left; seen: {effects:?}");
    }
}
