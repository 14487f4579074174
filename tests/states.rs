//! What each state does with what can happen in it: sync, without a clock, one behaviour a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests"
)]

#[path = "support/world.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the world"
)]
mod world;

use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::{AgentState, UpdateState};
use baseos_interfaces::status::BlockerKind;
use baserunner::lifecycle::effect::{LocalAnswer, Port, RequestId};
use baserunner::lifecycle::event::LocalCall;
use baserunner::lifecycle::report;
use baserunner::lifecycle::{Effect, Event};
use world::{Action, Errand, Reply, Rule, Sight, Wish, World, commit};

fn good(port: Port) -> Action {
    Action::Answer(port, Reply::Good)
}

fn play(world: &mut World, actions: &[Action]) {
    for action in actions {
        assert!(
            world.act(*action),
            "{action:?} cannot happen in {:?}",
            world.machine.state()
        );
    }
}

/// Cloudly's answer brings what was desired.
fn heard(world: &mut World, number: u8, rule: Rule) {
    play(world, &[Action::Desire(number, rule)]);
    while !world.pending.contains_key(&Port::Cloudly) {
        play(world, &[Action::Elapse]);
    }
    play(world, &[good(Port::Cloudly)]);
}

/// Up to the moment at which the Supervisor has taken the target.
fn handed_over(world: &mut World, number: u8, rule: Rule) {
    heard(world, number, rule);
    play(
        world,
        &[
            good(Port::Supervisor),
            good(Port::Supervisor),
            good(Port::Supervisor),
        ],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Applying);
}

fn proven(number: u8) -> World {
    let mut world = World::enrolled();
    world.act(Action::Desire(number, Rule::Plain));
    world.calm_down();
    assert_eq!(world.target_commit(), Some(commit(number)));
    world
}

fn wire(world: &World) -> UpdateState {
    report::update_status(world.machine.lifecycle(), world.machine.state()).state
}

fn blockers(world: &World) -> Vec<BlockerKind> {
    let update = report::update_status(world.machine.lifecycle(), world.machine.state());
    update.blocked_by.iter().map(|blocker| blocker.kind).collect()
}

fn left(world: &World, name: &str) -> usize {
    world
        .effects
        .iter()
        .filter(|effect| effect.name() == name)
        .count()
}

fn last_answer(world: &World) -> LocalAnswer {
    let replies = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Reply { answer, .. } => Some((**answer).clone()),
        _ => None,
    });
    replies.expect("somebody asked")
}

mod unenrolled {
    use super::*;

    #[test]
    fn without_a_join_token_nothing_leaves_and_the_summary_says_what_is_needed() {
        let mut world = World::new(false);
        play(
            &mut world,
            &[Action::See(Sight::Truth), Action::Ask(Wish::Status)],
        );
        let LocalAnswer::Status(status) = last_answer(&world) else {
            panic!()
        };
        assert_eq!(status.summary, "Not enrolled: waiting for a join token.");
        assert!(world.pending.keys().all(|port| *port == Port::LockFiles));
    }

    #[test]
    fn a_malformed_token_is_explained_and_a_good_one_is_taken_up() {
        let mut world = World::new(false);
        world.act(Action::Offer {
            token: 0,
            replace: false,
        });
        assert!(report::summary(world.machine.lifecycle(), world.machine.state()).contains("malformed"));
        world.act(Action::Offer {
            token: 1,
            replace: false,
        });
        assert_eq!(world.machine.agent_state(), AgentState::Registering);
    }
}

mod registering {
    use super::*;

    #[test]
    fn the_registration_id_is_on_disk_before_the_call_and_a_restart_repeats_it() {
        let mut world = World::new(true);
        let first = world
            .disk
            .book
            .join
            .registration
            .clone()
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
    fn a_refused_token_is_final_until_another_comes_even_over_a_restart() {
        let mut world = World::new(true);
        play(
            &mut world,
            &[
                Action::Answer(Port::Cloudly, Reply::Refused),
                Action::Restart { reboot: false },
            ],
        );
        assert_eq!(world.machine.agent_state(), AgentState::Unenrolled);
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
        assert_eq!(
            left(&world, "ForgetJoinToken"),
            1,
            "the refused token is not kept"
        );
    }
}

mod enrolled {
    use super::*;

    #[test]
    fn the_first_accepted_heartbeat_spends_the_join_token_and_not_before() {
        let mut world = World::new(true);
        play(&mut world, &[good(Port::Cloudly)]);
        assert_eq!(left(&world, "ForgetJoinToken"), 0);
        play(&mut world, &[good(Port::Cloudly)]);
        assert_eq!(left(&world, "ForgetJoinToken"), 1);
        world.act(Action::Offer {
            token: 1,
            replace: true,
        });
        assert_eq!(
            world.machine.agent_state(),
            AgentState::Idle,
            "a spent token is never used again"
        );
    }

    #[test]
    fn an_idle_heartbeat_is_small_and_the_status_comes_only_when_it_changed() {
        let mut world = World::enrolled();
        let beat = |world: &World| match world.pending.get(&Port::Cloudly) {
            Some((_, Effect::Heartbeat { beat, .. })) => (**beat).clone(),
            other => panic!("{other:?}"),
        };
        play(&mut world, &[Action::Elapse]);
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        play(&mut world, &[good(Port::Cloudly), Action::Elapse]);
        let idle = beat(&world);
        assert!(idle.status.is_none() && idle.events.is_empty());
        let size = serde_json::to_string(&idle).unwrap().len();
        assert!(size < 160, "{size} bytes");
        play(
            &mut world,
            &[good(Port::Cloudly), Action::See(Sight::Silent), Action::Elapse],
        );
        let status = beat(&world).status.expect("the Supervisor fell silent");
        assert!(!status.supervisor.available);
    }

    #[test]
    fn an_idle_heartbeat_writes_nothing_to_the_disk() {
        let mut world = World::enrolled();
        world.calm_down();
        let before = world.steps.len();
        for _ in 0..20 {
            world.act(Action::Elapse);
            world.act(good(Port::Cloudly));
        }
        assert!(
            world.steps[before..]
                .iter()
                .all(|(_, step)| step.checkpoint.is_none())
        );
    }

    #[test]
    fn refusals_keep_the_identity_and_only_a_new_token_makes_it_enrol_anew() {
        for reply in [Reply::Refused, Reply::Gone] {
            let mut world = World::enrolled();
            play(
                &mut world,
                &[Action::Elapse, Action::Answer(Port::Cloudly, reply)],
            );
            assert_eq!(world.machine.agent_state(), AgentState::Idle);
            assert!(world.machine.lifecycle().book.node.is_some());
            world.act(Action::Offer {
                token: 1,
                replace: false,
            });
            assert_eq!(
                world.machine.agent_state(),
                AgentState::Idle,
                "the spent one is no new token"
            );
            world.act(Action::Offer {
                token: 2,
                replace: false,
            });
            assert_eq!(world.machine.agent_state(), AgentState::Registering);
        }
    }

    #[test]
    fn a_lower_revision_is_ignored_and_the_same_one_changes_nothing() {
        let mut world = proven(2);
        let revision = world.machine.lifecycle().book.revision();
        let Some((_, Event::BeatAnswered { orders, .. })) = world
            .log
            .iter()
            .rev()
            .find(|(_, event)| matches!(event, Event::BeatAnswered { .. }))
        else {
            panic!()
        };
        let mut stale = orders.clone();
        stale.desired = world.machine.lifecycle().book.desired.clone().map(|mut desired| {
            desired.revision -= 1;
            desired.app = Some(world::desired_app(4, Rule::Plain));
            desired
        });
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        let (op, _) = world.pending.remove(&Port::Cloudly).unwrap();
        world.feed(Event::BeatAnswered {
            op,
            orders: stale,
            credentials_stored: false,
        });
        assert_eq!(world.machine.lifecycle().book.revision(), revision);
        assert_eq!(world.machine.agent_state(), AgentState::Idle);
    }

    #[test]
    fn a_command_is_executed_once_and_a_reboot_is_refused_while_a_lock_of_its_scope_is_held() {
        let mut world = World::enrolled();
        world.feed(Event::LocalRequested {
            request: RequestId(1),
            call: LocalCall::Lock {
                name: "migration".into(),
                owner: "onebox".into(),
                request: LockRequest {
                    reason: "migrating".into(),
                    ttl_seconds: 3600,
                    scope: LockScope::Reboot,
                },
            },
        });
        play(
            &mut world,
            &[Action::Order(Errand::Reboot), Action::Elapse, good(Port::Cloudly)],
        );
        let results = world.machine.lifecycle().book.commands.results.clone();
        assert!(
            results[0].message.as_ref().unwrap().contains("migrating"),
            "{results:?}"
        );
        assert_eq!(left(&world, "Reboot"), 0);
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        play(&mut world, &[good(Port::Cloudly)]);
        play(
            &mut world,
            &[
                Action::Order(Errand::RestartService),
                Action::Elapse,
                good(Port::Cloudly),
            ],
        );
        world.calm_down();
        assert_eq!(left(&world, "RestartService"), 1);
        assert!(
            world.machine.lifecycle().book.commands.results.is_empty(),
            "its result was delivered"
        );
    }

    #[test]
    fn a_stop_says_goodbye_and_then_ends() {
        let mut world = World::enrolled();
        world.calm_down();
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
        world.feed(Event::StopRequested);
        assert_eq!(left(&world, "Heartbeat(goodbye)"), 1);
        play(&mut world, &[good(Port::Cloudly)]);
        assert_eq!(left(&world, "Stop"), 1);
    }

    #[test]
    fn a_stop_does_not_wait_for_a_silent_cloudly() {
        let mut world = World::enrolled();
        world.feed(Event::StopRequested);
        while left(&world, "Stop") == 0 {
            assert!(world.act(Action::Elapse));
        }
        assert!(world.now().boot.0 < 60_000);
    }
}

mod idle {
    use super::*;

    #[test]
    fn what_runs_already_counts_as_succeeded_once_and_becomes_the_release_to_go_back_to() {
        let world = proven(1);
        assert_eq!(left(&world, "ApplyTarget"), 0, "nothing was touched");
        assert_eq!(wire(&world), UpdateState::Succeeded);
        assert_eq!(
            world
                .machine
                .lifecycle()
                .book
                .good
                .as_ref()
                .map(|good| good.commit.clone()),
            Some(commit(1))
        );
    }

    #[test]
    fn a_release_known_to_be_bad_is_not_tried_again_without_an_order() {
        let mut world = proven(2);
        for rule in [Rule::Plain, Rule::Plain] {
            world.act(Action::Desire(3, rule));
            world.calm_down();
            world.act(Action::Desire(2, Rule::Plain));
            world.calm_down();
        }
        world.act(Action::Desire(3, Rule::Plain));
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Failed);
        let before = left(&world, "ApplyTarget");
        world.act(Action::Desire(3, Rule::Forced));
        world.calm_down();
        assert!(left(&world, "ApplyTarget") > before, "an order is an order");
    }
}

mod staging {
    use super::*;

    #[test]
    fn a_release_without_the_agent_is_refused_before_anything_is_touched() {
        let mut world = World::enrolled();
        world.act(Action::Desire(5, Rule::Plain));
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Failed);
        assert_eq!(left(&world, "ApplyTarget"), 0);
        let update = report::update_status(world.machine.lifecycle(), world.machine.state());
        assert_eq!(update.error.unwrap().code, "releaseRefused");
    }

    #[test]
    fn a_silent_supervisor_holds_it_up_and_is_named() {
        let mut world = World::enrolled();
        heard(&mut world, 2, Rule::Plain);
        play(
            &mut world,
            &[Action::Answer(Port::Supervisor, Reply::Unavailable)],
        );
        assert_eq!(
            (wire(&world), blockers(&world)),
            (UpdateState::Staged, vec![BlockerKind::SupervisorUnavailable])
        );
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }
}

mod waiting {
    use super::*;

    fn waits(rule: Rule, prepare: &[Action]) -> World {
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
            blockers(&waits(Rule::NeedsApproval, &[])),
            [BlockerKind::Approval]
        );
        assert_eq!(blockers(&waits(Rule::NoSlot, &[])), [BlockerKind::RolloutSlot]);
        assert_eq!(
            blockers(&waits(Rule::Plain, &[Action::Ask(Wish::Lock)])),
            [BlockerKind::LocalLock]
        );
        let full = Action::Host {
            locked: false,
            full: true,
        };
        assert_eq!(blockers(&waits(Rule::Plain, &[full])), [BlockerKind::DiskSpace]);
        let locked = Action::Host {
            locked: true,
            full: false,
        };
        assert_eq!(blockers(&waits(Rule::Plain, &[locked])), [BlockerKind::LocalLock]);
        assert_eq!(
            blockers(&waits(Rule::Plain, &[Action::Disk { works: false }])),
            [BlockerKind::StateNotWritable]
        );
    }

    #[test]
    fn approval_and_the_end_of_a_lock_let_it_go_on_at_once() {
        let mut world = waits(Rule::NeedsApproval, &[]);
        world.act(Action::Ask(Wish::Approve));
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
        let mut world = waits(Rule::Plain, &[Action::Ask(Wish::Lock)]);
        world.act(Action::Ask(Wish::Unlock));
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
    }

    #[test]
    fn a_lock_that_is_not_renewed_ends_by_itself() {
        let mut world = waits(Rule::Plain, &[Action::Ask(Wish::Lock)]);
        while world.machine.agent_state() == AgentState::Waiting {
            if !world.act(good(Port::Cloudly)) {
                assert!(world.act(Action::Elapse));
            }
        }
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
    }

    #[test]
    fn a_deferral_is_bounded_by_the_policy_and_ends_by_itself() {
        let mut world = waits(Rule::NeedsApproval, &[]);
        world.act(Action::Ask(Wish::Defer));
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
        let mut world = waits(Rule::NeedsApproval, &[Action::Ask(Wish::Lock)]);
        world.act(Action::Desire(2, Rule::Forced));
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
            Rule::Plain,
            &[Action::Host {
                locked: true,
                full: false,
            }],
        );
        world.act(Action::Ask(Wish::Lock));
        let LocalAnswer::Problem(problem) = last_answer(&world) else {
            panic!()
        };
        assert_eq!((problem.status, problem.retryable), (423, true));
        assert!(problem.retry_after_seconds.is_some());
    }
}

mod applying {
    use super::*;

    #[test]
    fn after_a_crash_it_looks_before_it_hands_over_again() {
        let mut world = proven(2);
        heard(&mut world, 4, Rule::Plain);
        play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
        assert_eq!(left(&world, "ApplyTarget"), 2, "one for release 2, one for 4");
        // The Supervisor took it, but the agent died before it heard so.
        play(&mut world, &[good(Port::Supervisor)]);
        world.act(Action::Restart { reboot: false });
        world.calm_down();
        assert_eq!(left(&world, "ApplyTarget"), 2);
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }

    #[test]
    fn progress_is_what_is_observed() {
        let mut world = World::enrolled();
        handed_over(&mut world, 2, Rule::Plain);
        assert_eq!(world.machine.agent_state(), AgentState::Applying);
        world.act(Action::See(Sight::Working));
        let update = report::update_status(world.machine.lifecycle(), world.machine.state());
        assert_eq!(update.progress_percent, Some(50));
    }

    #[test]
    fn attempts_that_run_out_of_time_are_counted_and_then_given_up() {
        let mut world = proven(2);
        handed_over(&mut world, 4, Rule::Plain);
        world.act(Action::See(Sight::Working));
        for _ in 0..200 {
            if world.machine.agent_state() == AgentState::RollbackNeeded {
                break;
            }
            world.act(good(Port::Cloudly));
            world.act(good(Port::Supervisor));
            world.act(Action::Elapse);
        }
        let error = world
            .machine
            .lifecycle()
            .book
            .known_bad(&commit(4))
            .expect("given up")
            .clone();
        assert_eq!(error.code, "applyTimeout");
        assert_eq!(
            world.machine.state().update().map(|update| update.attempt),
            Some(world::MAX_ATTEMPTS)
        );
    }
}

mod verifying {
    use super::*;

    #[test]
    fn it_must_stay_healthy_and_interruptions_begin_the_time_anew() {
        let mut world = World::enrolled();
        handed_over(&mut world, 2, Rule::Plain);
        play(&mut world, &[Action::See(Sight::Truth)]);
        assert_eq!(world.machine.agent_state(), AgentState::Verifying);
        play(&mut world, &[Action::See(Sight::Ill), Action::See(Sight::Truth)]);
        assert_eq!(
            world.machine.agent_state(),
            AgentState::Verifying,
            "one break is forgiven"
        );
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }

    #[test]
    fn three_breaks_are_no_health_and_the_evidence_is_kept() {
        let mut world = proven(2);
        handed_over(&mut world, 4, Rule::ReportOnly);
        for _ in 0..3 {
            play(&mut world, &[Action::See(Sight::Truth), Action::See(Sight::Ill)]);
        }
        assert_eq!(wire(&world), UpdateState::RollbackNeeded);
        let update = report::update_status(world.machine.lifecycle(), world.machine.state());
        assert!(
            update
                .error
                .unwrap()
                .evidence
                .contains(&"onebox: exited".to_owned())
        );
        assert_eq!(
            left(&world, "ApplyTarget"),
            2,
            "the policy says report, so nobody goes back by himself"
        );
    }

    #[test]
    fn a_silent_supervisor_proves_nothing_against_the_release() {
        let mut world = proven(2);
        handed_over(&mut world, 4, Rule::Plain);
        play(
            &mut world,
            &[Action::See(Sight::Truth), Action::See(Sight::Silent)],
        );
        for _ in 0..100 {
            world.act(good(Port::Cloudly));
            world.act(Action::Elapse);
        }
        assert_eq!(world.machine.agent_state(), AgentState::Verifying);
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }
}

mod rollback_needed {
    use super::*;

    #[test]
    fn a_bad_release_is_left_for_the_one_that_proved_itself_and_reported_once() {
        let mut world = proven(2);
        world.act(Action::Desire(3, Rule::Plain));
        world.calm_down();
        assert_eq!(
            (wire(&world), world.target_commit()),
            (UpdateState::RolledBack, Some(commit(2)))
        );
        let told: Vec<_> = world
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Heartbeat { beat, .. } => Some(beat.events.clone()),
                _ => None,
            })
            .flatten()
            .filter(|event| event.kind == "updateFinished" && event.data["target"] == commit(3))
            .map(|event| event.id)
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
    }

    #[test]
    fn without_a_release_to_go_back_to_it_waits_for_the_operator() {
        let mut world = World::enrolled();
        world.act(Action::Desire(3, Rule::Plain));
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::RollbackNeeded);
        let summary = report::summary(world.machine.lifecycle(), world.machine.state());
        assert!(summary.contains("Waiting for the operator"), "{summary}");
        world.act(Action::Desire(2, Rule::Plain));
        world.calm_down();
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }

    #[test]
    fn a_release_withdrawn_in_mid_application_is_undone_and_counts_as_cancelled() {
        let mut world = proven(2);
        handed_over(&mut world, 4, Rule::Plain);
        world.act(Action::See(Sight::Working));
        world.act(Action::Desire(0, Rule::Plain));
        world.calm_down();
        assert_eq!(
            (wire(&world), world.target_commit()),
            (UpdateState::Cancelled, Some(commit(2)))
        );
        assert!(world.machine.lifecycle().book.known_bad(&commit(4)).is_none());
    }

    #[test]
    fn a_newer_release_takes_the_place_of_one_under_way() {
        let mut world = proven(2);
        handed_over(&mut world, 3, Rule::Plain);
        world.act(Action::See(Sight::Working));
        world.act(Action::Desire(4, Rule::Plain));
        world.calm_down();
        assert_eq!(
            (wire(&world), world.target_commit()),
            (UpdateState::Succeeded, Some(commit(4)))
        );
    }
}
