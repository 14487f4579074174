//! Services of the release that runs which stop after it has succeeded.

use super::states::{good, heard, last_answer, left, play, proven, wire};
use super::world::{Action, CommandKind, LocalRequest, PolicyKind, Reply, View, World, commit, release};
use crate::lifecycle::effect::{LocalAnswer, Port, SupervisorCall};
use crate::lifecycle::report;
use crate::lifecycle::update::target::{Release, Service};
use crate::lifecycle::{Effect, Event};
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::states::{AgentState, UpdateState};
use serde_json::json;
use std::time::Duration;

/// A node that rests with release 2, and has nothing under way.
pub(super) fn resting() -> World {
    let mut world = proven(2);
    for port in [Port::Cloudly, Port::Supervisor, Port::LockFiles] {
        world.act(good(port));
    }
    world
}

/// Lets time pass; only Cloudly answers.
pub(super) fn pass(world: &mut World, time: Duration) {
    let end = world.now().boot + time;
    while world.machine.next_timer().is_some_and(|(_, at)| at <= end) {
        world.act(Action::Elapse);
        world.act(good(Port::Cloudly));
    }
}

fn issue(world: &World, code: &IssueCode) -> Option<String> {
    world.machine.shared().issues.detail(code).map(str::to_owned)
}

fn summary(world: &mut World) -> String {
    world.act(Action::Request(LocalRequest::Status));
    let LocalAnswer::Status(status) = last_answer(world) else {
        panic!("{:?}", last_answer(world));
    };
    status.summary
}

fn events(world: &World) -> usize {
    let sent = world.effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat { heartbeat, .. } => Some(&heartbeat.events),
        _ => None,
    });
    sent.flatten()
        .filter(|event| event.kind == "serviceHealing")
        .count()
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_service_that_has_exited_is_reported_and_started() {
    let mut world = resting();
    world.act(Action::Observe(View::Unhealthy));
    assert_eq!(
        issue(&world, &IssueCode::ServiceStopped).unwrap(),
        "onebox: exited"
    );
    let sentence = summary(&mut world);
    assert!(sentence.contains("but onebox: exited"), "{sentence}");
    assert_eq!(left(&world, "StartService"), 0, "a restart is passed through");
    pass(&mut world, MINUTE);
    assert_eq!(left(&world, "StartService"), 1);
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Actual)],
    );
    assert_eq!(issue(&world, &IssueCode::ServiceStopped), None);
    assert_eq!(left(&world, "ApplyTarget"), 1, "the update to release 2");
    pass(&mut world, MINUTE);
    assert!(events(&world) >= 1);
}

#[test]
fn a_service_without_a_container_is_brought_back_by_the_same_target_and_no_call() {
    let mut world = resting();
    world.act(Action::Observe(View::Absent));
    pass(&mut world, MINUTE);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(left(&world, "ApplyTarget"), 2);
    assert_eq!(
        (left(&world, "StartService"), left(&world, "RestartService")),
        (0, 0)
    );
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Actual)],
    );
    assert_eq!(issue(&world, &IssueCode::ServiceStopped), None);
}

#[test]
fn somebody_elses_target_is_not_replaced_to_heal() {
    let mut world = resting();
    world.act(Action::Observe(View::Absent));
    world.act(Action::Post(1));
    pass(&mut world, MINUTE);
    play(&mut world, &[good(Port::Supervisor)]);
    assert_eq!(left(&world, "ApplyTarget"), 1);
}

#[test]
fn a_target_that_cannot_be_built_is_told_and_not_counted_as_a_post() {
    let mut world = resting();
    world.act(Action::Observe(View::Absent));
    world.other_app = true;
    pass(&mut world, MINUTE);
    play(&mut world, &[good(Port::Supervisor)]);
    let detail = issue(&world, &IssueCode::ServiceStopped).unwrap();
    let begins = "onebox: no container, cannot be brought back: the Supervisor also runs app 8";
    assert!(detail.starts_with(begins), "{detail}");
    pass(&mut world, MINUTE);
    assert_eq!((left(&world, "ApplyTarget"), events(&world)), (1, 0));
    world.other_app = false;
    pass(&mut world, 5 * MINUTE);
    play(&mut world, &[good(Port::Supervisor)]);
    let detail = issue(&world, &IssueCode::ServiceStopped).unwrap();
    assert_eq!(detail, "onebox: no container, try 1 to bring it back");
    assert_eq!(left(&world, "ApplyTarget"), 2);
}

#[test]
fn a_supervisor_that_lost_its_target_gets_it_from_the_agents_own_record() {
    for desired in [2, 0] {
        let mut world = resting();
        heard(&mut world, desired, PolicyKind::NoSlot);
        world.act(Action::LoseTarget);
        world.act(Action::Observe(View::Actual));
        assert!(world.machine.shared().issues.has(&IssueCode::TargetLost));
        pass(&mut world, MINUTE);
        play(&mut world, &[good(Port::Supervisor)]);
        assert_eq!(left(&world, "ApplyTarget"), 2);
        play(
            &mut world,
            &[good(Port::Supervisor), Action::Observe(View::Actual)],
        );
        assert!(!world.machine.shared().issues.has(&IssueCode::TargetLost));
        assert_eq!(world.target_commit(), Some(commit(2)));
        assert_eq!(world.machine.agent_state(), AgentState::Idle);
    }
}

#[test]
fn tries_back_off_and_end() {
    let mut world = resting();
    world.act(Action::Observe(View::Unhealthy));
    let begun = world.now().boot;
    for _ in 0..2000 {
        world.act(good(Port::Supervisor));
        world.act(good(Port::Cloudly));
        if world.now().boot.since(begun) > Duration::from_secs(5 * 3600) {
            break;
        }
        world.act(Action::Elapse);
    }
    assert_eq!(left(&world, "StartService"), 5);
    let detail = issue(&world, &IssueCode::ServiceStopped).unwrap();
    assert_eq!(detail, "onebox: exited, not brought back in 5 tries");
    assert_eq!(wire(&world), UpdateState::Succeeded, "the release is not blamed");
}

#[test]
fn nothing_is_healed_beside_a_lease_or_a_lock() {
    let lock = Action::Request(LocalRequest::Lock);
    let foreign = Action::Host {
        locked: true,
        full: false,
    };
    for (held, let_go) in [
        (lock, Action::Request(LocalRequest::Unlock)),
        (
            foreign,
            Action::Host {
                locked: false,
                full: false,
            },
        ),
    ] {
        let mut world = resting();
        world.act(held);
        world.act(Action::Observe(View::Unhealthy));
        pass(&mut world, MINUTE);
        assert_eq!(left(&world, "StartService"), 0, "{held:?}");
        assert!(issue(&world, &IssueCode::ServiceStopped).is_some());
        world.act(let_go);
        assert_eq!(left(&world, "StartService"), 1, "{held:?}");
    }
}

#[test]
fn a_crash_loop_is_reported_and_left_alone() {
    let mut world = resting();
    for _ in 0..4 {
        assert_eq!(issue(&world, &IssueCode::ServiceCrashLoop), None);
        world.act(Action::Exit);
    }
    let detail = issue(&world, &IssueCode::ServiceCrashLoop).unwrap();
    assert_eq!(detail, "onebox exits again and again");
    assert!(summary(&mut world).contains("onebox exits again and again"));
    pass(&mut world, MINUTE);
    assert_eq!(
        (left(&world, "StartService"), left(&world, "ApplyTarget")),
        (0, 1)
    );
    pass(&mut world, 10 * MINUTE);
    assert_eq!(
        issue(&world, &IssueCode::ServiceCrashLoop),
        None,
        "it has been quiet"
    );
}

#[test]
fn what_an_operator_stopped_stays_stopped() {
    let mut world = resting();
    world.act(Action::Command(CommandKind::StopService));
    pass(&mut world, 2 * MINUTE);
    play(
        &mut world,
        &[good(Port::Supervisor), Action::Observe(View::Unhealthy)],
    );
    assert_eq!(left(&world, "StopService"), 1);
    pass(&mut world, 5 * MINUTE);
    assert_eq!(left(&world, "StartService"), 0);
    assert_eq!(issue(&world, &IssueCode::ServiceStopped), None);
    let (shared, state) = (world.machine.shared(), world.machine.state());
    let services = report::status::node_status(shared, state)
        .release
        .unwrap()
        .services;
    let stopped = services.iter().filter(|(_, service)| service.stopped_by_operator);
    assert_eq!(
        stopped.map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["onebox"]
    );
    let said = report::summary::summary(shared, state);
    assert!(said.ends_with("runs, onebox stopped by an operator."), "{said}");
    world.act(Action::Restart { reboot: true });
    world.act(Action::Observe(View::Unhealthy));
    pass(&mut world, 5 * MINUTE);
    assert_eq!(left(&world, "StartService"), 0, "also after a restart");
}

#[test]
fn a_stop_that_was_refused_leaves_its_service_to_be_healed() {
    let refused = |stop: &dyn Fn(&mut World)| {
        let mut world = resting();
        stop(&mut world);
        world.act(Action::Observe(View::Unhealthy));
        pass(&mut world, 2 * MINUTE);
        left(&world, "StartService")
    };
    let by_supervisor = |world: &mut World| {
        world.act(Action::Command(CommandKind::StopService));
        pass(world, 2 * MINUTE);
        play(world, &[Action::Answer(Port::Supervisor, Reply::Gone)]);
    };
    let by_agent = |world: &mut World| {
        world.act(Action::Request(LocalRequest::Lock));
        world.act(Action::Command(CommandKind::StopService));
        pass(world, 2 * MINUTE);
        assert_eq!(left(world, "StopService"), 0);
        world.act(Action::Request(LocalRequest::Unlock));
    };
    let without_disk = |world: &mut World| {
        world.act(Action::Disk { works: false });
        world.act(Action::Command(CommandKind::StopService));
        pass(world, 2 * MINUTE);
        assert_eq!(left(world, "StopService"), 0);
        world.act(Action::Disk { works: true });
    };
    assert!(refused(&by_supervisor) > 0, "by the Supervisor");
    assert!(refused(&by_agent) > 0, "by the agent");
    assert!(refused(&without_disk) > 0, "it never left");
}

#[test]
fn a_second_stop_that_was_refused_leaves_a_stopped_service_stopped() {
    let mut world = resting();
    let mut stop = |answers: &[Action]| {
        world.act(Action::Command(CommandKind::StopService));
        pass(&mut world, 2 * MINUTE);
        play(&mut world, answers);
    };
    stop(&[good(Port::Supervisor), Action::Observe(View::Unhealthy)]);
    stop(&[Action::Answer(Port::Supervisor, Reply::Gone)]);
    assert_eq!(left(&world, "StopService"), 2);
    world.act(Action::Observe(View::Unhealthy));
    pass(&mut world, 5 * MINUTE);
    assert_eq!(left(&world, "StartService"), 0);
}

#[test]
fn the_policy_says_what_is_healed() {
    let healed = |policy: &str, view| {
        let mut world = resting();
        let mut desired = super::world::desired_app(2, PolicyKind::Plain);
        desired.policy.heal = serde_json::from_value(json!(policy)).unwrap();
        world.desire_app(Some(desired));
        while !world.pending.contains_key(&Port::Cloudly) {
            world.act(Action::Elapse);
        }
        world.act(good(Port::Cloudly));
        world.act(Action::Observe(view));
        pass(&mut world, MINUTE);
        world.act(good(Port::Supervisor));
        left(&world, "StartService") + left(&world, "ApplyTarget") - 1
    };
    assert_eq!(
        (
            healed("restart", View::Unhealthy),
            healed("restart", View::Absent)
        ),
        (1, 1)
    );
    assert_eq!(
        (healed("repost", View::Unhealthy), healed("repost", View::Absent)),
        (0, 1)
    );
    for touches_nothing in ["report", "a value of tomorrow"] {
        assert_eq!(healed(touches_nothing, View::Unhealthy), 0);
        assert_eq!(healed(touches_nothing, View::Absent), 0);
    }
}

#[test]
fn an_update_ends_what_heals() {
    let mut world = resting();
    heard(&mut world, 4, PolicyKind::Plain);
    world.act(Action::Observe(View::Unhealthy));
    pass(&mut world, MINUTE);
    assert_eq!(world.machine.agent_state(), AgentState::Staging);
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::Succeeded, Some(commit(4)))
    );
    assert_eq!(left(&world, "StartService"), 0);
}

#[test]
fn a_command_for_a_service_without_a_container_is_refused() {
    let mut world = resting();
    world.act(Action::Observe(View::Absent));
    world.act(Action::Command(CommandKind::RestartService));
    pass(&mut world, 2 * MINUTE);
    assert_eq!(left(&world, "RestartService"), 0);
    let results: Vec<_> = world
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Heartbeat { heartbeat, .. } => heartbeat.command_results.first().cloned(),
            _ => None,
        })
        .collect();
    let message = results[0].message.as_ref().unwrap();
    assert!(message.contains("has no container"), "{message}");
}

#[test]
fn a_restart_of_the_agent_itself_is_a_success_after_it() {
    let mut world = resting();
    world.command_action(baseos_interfaces::command::CommandAction::RestartService {
        service: "baserunner".into(),
    });
    while left(&world, "RestartService") == 0 {
        world.act(Action::Elapse);
        world.act(good(Port::Cloudly));
    }
    world.act(Action::Restart { reboot: false });
    let result = world.machine.shared().durable.commands.results().next().unwrap();
    assert_eq!(result.state, baseos_interfaces::command::CommandState::Succeeded);
}

#[test]
fn a_service_that_runs_once_is_done_when_it_has_exited() {
    let service = |restart: &str| {
        let composition = json!({ "restart": restart });
        Service {
            composition: composition.as_object().unwrap().clone(),
            ..Service::default()
        }
    };
    for (restart, done, minded) in [
        ("no", true, false),
        ("on-failure", true, true),
        ("on-failure:3", true, true),
        ("always", false, true),
        ("unless-stopped", false, true),
    ] {
        assert_eq!(service(restart).is_done("exited"), done, "{restart}");
        assert!(!service(restart).is_done("Installed"), "{restart}");
        let mut release = Release::from(&release(2));
        release.services.insert("job".to_owned(), service(restart));
        assert_eq!(release.minds_exit("job"), minded, "{restart}");
    }
    assert!(
        !Service::default().is_done("exited"),
        "balena's default is always"
    );
}

/// Every call that heals is one that the Supervisor was recorded to answer as wanted.
#[test]
fn a_start_names_the_service_and_the_app() {
    let mut world = resting();
    world.act(Action::Observe(View::Unhealthy));
    pass(&mut world, MINUTE);
    let call = world.effects.iter().find_map(|effect| match effect {
        Effect::Supervisor {
            call: call @ SupervisorCall::StartService { .. },
            ..
        } => Some(call.clone()),
        _ => None,
    });
    let service = "onebox".to_owned();
    assert_eq!(call, Some(SupervisorCall::StartService { app_id: 7, service }));
    // A failed call is followed by another one, later.
    world.act(Action::Answer(Port::Supervisor, Reply::Unavailable));
    world.feed(Event::HostObserved(world.machine.shared().host.clone()));
    assert_eq!(left(&world, "StartService"), 1);
    let status = report::status::update_status(world.machine.shared(), world.machine.state());
    assert_eq!(status.state, UpdateState::Succeeded);
}
