//! The guard of the agent's own update, on the agent's side.

use super::states::{good, handed_over, heard, known_bad, play};
use super::world::{Action, LocalRequest, PolicyKind, Reply, View, World, commit};
use crate::lifecycle::Effect;
use crate::lifecycle::effect::{Port, SupervisorCall};
use crate::lifecycle::guard::files::Orders;
use crate::lifecycle::guard::record::GuardRecord;
use baseos_interfaces::codes::{EventKind, IssueCode};
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::states::{AgentState, UpdateState};
use std::collections::BTreeMap;
use std::time::Duration;

/// The targets that were handed over: the commit, and the images of the agent and of its guard.
fn posts(world: &World) -> Vec<(String, String, Option<String>)> {
    let targets = world.effects.iter().filter_map(|effect| match effect {
        Effect::Supervisor {
            call: SupervisorCall::ApplyTarget { target, .. },
            ..
        } => Some(target),
        _ => None,
    });
    targets
        .map(|target| {
            let json = serde_json::to_value(target).unwrap();
            let services = json["local"]["apps"]["7"]["services"]
                .as_object()
                .unwrap()
                .clone();
            let image = |name: &str| {
                let service = services.values().find(|service| service["serviceName"] == name)?;
                service["image"].as_str().map(str::to_owned)
            };
            (
                target.commit().to_owned(),
                image("baserunner").unwrap(),
                image(GUARD_SERVICE),
            )
        })
        .collect()
}

fn image(number: u8) -> String {
    format!("registry.example/baserunner:1.{number}.0")
}

fn post(number: u8, guard: u8) -> (String, String, Option<String>) {
    (commit(number), image(number), Some(image(guard)))
}

fn orders(world: &World) -> Orders {
    world.disk.guard_orders().unwrap()
}

/// How the update to release 2 ended, as Cloudly was told.
fn ends(world: &World) -> Vec<String> {
    let events = world.effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat { heartbeat, .. } => Some(&heartbeat.events),
        _ => None,
    });
    let ends: BTreeMap<_, _> = events
        .flatten()
        .filter(|event| event.kind == EventKind::UpdateFinished && event.data["target"] == commit(2))
        .map(|event| (event.id.clone(), event.data["state"].as_str().unwrap().to_owned()))
        .collect();
    ends.into_values().collect()
}

/// Release 1 is proven and has its guard.
pub(super) fn armed() -> World {
    let mut world = World::guarded();
    world.act(Action::Desire(1, PolicyKind::Plain));
    world.settle();
    assert_eq!(posts(&world), [post(1, 1)]);
    world
}

#[test]
fn the_guard_is_added_once_a_release_has_proved_itself_and_cloudly_was_heard() {
    let world = armed();
    let orders = orders(&world);
    let proven = orders.proven.unwrap();
    assert_eq!(proven.commit, commit(1));
    assert_eq!(
        proven.target["local"]["apps"]["7"]["services"]
            .as_object()
            .unwrap()
            .len(),
        3
    );
    assert_eq!((orders.trial, orders.over), (None, None));
}

#[test]
fn the_guard_is_not_added_beside_a_lease_and_waits_longer_after_each_failure() {
    let mut world = World::guarded();
    heard(&mut world, 1, PolicyKind::Plain);
    world.act(Action::Request(LocalRequest::Lock));
    for _ in 0..20 {
        world.act(Action::Observe(View::Actual));
        while let Some(port) = world.pending.keys().next().copied() {
            world.act(good(port));
        }
    }
    assert_eq!(posts(&world), []);
    world.act(Action::Request(LocalRequest::Unlock));
    let before = world.now().boot;
    let mut tries = 0;
    while tries < 4 {
        world.act(Action::Observe(View::Actual));
        while let Some(port) = world.pending.keys().next().copied() {
            let reply = if port == Port::Supervisor {
                Reply::Unavailable
            } else {
                Reply::Good
            };
            tries += u32::from(port == Port::Supervisor);
            world.act(Action::Answer(port, reply));
        }
        world.act(Action::Elapse);
    }
    // 30 s, 60 s and 120 s between four tries.
    assert!(world.now().boot.since(before).as_secs() >= 210);
    assert_eq!(posts(&world), []);
}

#[test]
fn an_update_keeps_the_guard_as_it_is_and_begins_a_trial_before_the_target_leaves() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    assert_eq!(posts(&world), [post(1, 1), post(2, 1)]);
    let orders = orders(&world);
    let trial = orders.trial.unwrap();
    assert_eq!((trial.number, trial.commit), (1, commit(2)));
    assert!(trial.old_container.is_some());
    assert_eq!(orders.proven.unwrap().commit, commit(1));
}

#[test]
fn a_new_agent_proves_itself_by_a_heartbeat_and_then_the_guard_follows() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    world.act(Action::Restart { reboot: false });
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Actual)],
    );
    assert!(
        orders(&world).trial.is_some(),
        "Cloudly has not accepted anything of this agent"
    );
    play(&mut world, &[good(Port::Cloudly)]);
    let over = orders(&world).over.unwrap();
    assert_eq!((over.number, over.commit, over.proved), (1, commit(2), true));
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    world.settle();
    assert_eq!(posts(&world), [post(1, 1), post(2, 1), post(2, 2)]);
    assert_eq!(orders(&world).proven.unwrap().commit, commit(2));
}

#[test]
fn a_release_does_not_succeed_before_its_agent_has_proved_itself() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    world.act(Action::Restart { reboot: false });
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Actual)],
    );
    for _ in 0..60 {
        if world.pending.contains_key(&Port::Cloudly) {
            play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
        }
        play(&mut world, &[Action::Elapse]);
    }
    assert_eq!(world.machine.agent_state(), AgentState::Verifying);
    // Without a guard that acts, the new agent gives up by itself.
    for _ in 0..2000 {
        if world.machine.agent_state() != AgentState::Verifying {
            break;
        }
        if world.pending.contains_key(&Port::Cloudly) {
            play(&mut world, &[Action::Answer(Port::Cloudly, Reply::Unavailable)]);
        }
        play(&mut world, &[Action::Elapse]);
    }
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
}

#[test]
fn the_restored_agent_posts_nothing_again_and_reports_the_outcome_once() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::ReportOnly);
    world.guard_restores();
    assert_eq!(world.machine.agent_state(), AgentState::RollbackNeeded);
    world.settle();
    assert_eq!(world.target_commit(), Some(commit(1)));
    assert_eq!(posts(&world), [post(1, 1), post(2, 1)]);
    let durable = &world.machine.shared().durable;
    let bad = durable.memory.known_bad(&commit(2)).unwrap();
    assert_eq!(bad.code.as_str(), "agentNotProven");
    assert_eq!(bad.evidence, ["baserunner: exited"]);
    let status =
        crate::lifecycle::report::status::update_status(world.machine.shared(), world.machine.state());
    assert_eq!(status.state, UpdateState::RolledBack);
    let issues = &world.machine.shared().issues;
    assert!(
        !issues.has(&IssueCode::ForeignTarget),
        "the guard posted it for the agent"
    );
    // The report is still there at the next start, and is known.
    let epoch = durable.epoch;
    world.act(Action::Restart { reboot: false });
    assert!(world.machine.shared().durable.epoch > epoch);
    world.settle();
    assert_eq!(ends(&world), ["rolled-back"]);
    assert_eq!(posts(&world), [post(1, 1), post(2, 1)]);
}

#[test]
fn a_superseded_release_whose_agent_failed_is_remembered_as_bad_too() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    heard(&mut world, 4, PolicyKind::NoSlot);
    assert_ne!(world.machine.agent_state(), AgentState::Applying);
    world.guard_restores();
    assert!(known_bad(&world, 2));
    assert!(world.machine.shared().durable.guard.trial().is_none());
    world.settle();
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
}

#[test]
fn a_target_that_the_supervisor_refuses_begins_no_trial() {
    let mut world = armed();
    heard(&mut world, 2, PolicyKind::Plain);
    play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
    play(&mut world, &[Action::Answer(Port::Supervisor, Reply::Refused)]);
    assert_eq!(world.machine.agent_state(), AgentState::Failed);
    assert!(world.machine.shared().durable.guard.trial().is_none());
}

/// More than the trial's budget.
const ITS_TIME: Duration = Duration::from_secs(700);

#[test]
fn what_the_guard_could_not_report_is_inferred_when_the_trial_has_had_its_time() {
    for answered in [true, false] {
        let mut world = armed();
        if answered {
            handed_over(&mut world, 2, PolicyKind::ReportOnly);
        } else {
            heard(&mut world, 2, PolicyKind::ReportOnly);
            play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
        }
        world.guard_restores_unreported(ITS_TIME);
        world.settle();
        assert_eq!(
            posts(&world),
            [post(1, 1), post(2, 1)],
            "it is not handed over again"
        );
        assert_eq!(world.target_commit(), Some(commit(1)));
        let durable = &world.machine.shared().durable;
        let bad = durable.memory.known_bad(&commit(2)).unwrap();
        assert_eq!(bad.code.as_str(), "agentNotProven");
        assert!(bad.message.contains("report of that is missing"), "{bad:?}");
        assert!(!world.machine.shared().issues.has(&IssueCode::ForeignTarget));
        let orders = orders(&world);
        assert_eq!((orders.trial, orders.noted), (None, 1));
        // The guard could write its report in the end.
        world.guard_reports(1);
        world.act(Action::Restart { reboot: false });
        world.settle();
        assert_eq!(ends(&world), ["rolled-back"]);
        assert_eq!(world.machine.agent_state(), AgentState::Idle);
    }
}

#[test]
fn what_the_guard_could_not_report_is_inferred_of_a_superseded_release_too() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    heard(&mut world, 4, PolicyKind::NoSlot);
    world.guard_restores_unreported(ITS_TIME);
    world.settle();
    let durable = &world.machine.shared().durable;
    let bad = durable.memory.known_bad(&commit(2)).unwrap();
    assert_eq!(bad.code.as_str(), "agentNotProven");
    assert!(durable.guard.trial().is_none());
    assert_eq!(ends(&world), ["superseded"]);
}

#[test]
fn a_release_that_is_displaced_before_its_time_is_tried_again_in_a_trial_of_its_own() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    world.guard_restores_unreported(Duration::from_secs(10));
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Actual)],
    );
    assert_eq!(world.machine.agent_state(), AgentState::Waiting);
    let durable = &world.machine.shared().durable;
    assert!(durable.memory.known_bad(&commit(2)).is_none());
    let ended = orders(&world);
    assert_eq!((ended.trial, ended.noted), (None, 1));
    assert_eq!(
        ended.over.map(|over| (over.number, over.proved)),
        Some((1, false))
    );
    play(&mut world, &[good(Port::Cloudly)]);
    play(&mut world, &[good(Port::Supervisor), good(Port::Supervisor)]);
    assert_eq!(posts(&world), [post(1, 1), post(2, 1), post(2, 1)]);
    assert_eq!(orders(&world).trial.unwrap().number, 2);
}

#[test]
fn a_restart_of_the_agent_that_began_the_trial_is_no_sign_of_the_guard() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    world.stay_away(ITS_TIME);
    world.act(Action::Observe(View::Working));
    assert!(orders(&world).trial.is_some());
    assert!(!known_bad(&world, 2));
}

#[test]
fn a_lost_record_takes_note_of_the_guards_report_and_orders_it_to_rest() {
    let mut world = armed();
    handed_over(&mut world, 2, PolicyKind::Plain);
    world.guard_reports(1);
    world.disk.durable.guard = GuardRecord::after_loss(Some(1));
    world.act(Action::Restart { reboot: false });
    let orders = orders(&world);
    assert_eq!((orders.noted, orders.proven), (1, None));
}
