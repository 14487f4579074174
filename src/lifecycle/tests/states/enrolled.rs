use super::*;
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use baseos_interfaces::command::{self as wire, CommandState};
use baseos_interfaces::desired::Desired;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::register::Approval;

/// The heartbeat under way.
fn beat(world: &World) -> Heartbeat {
    match world.pending.get(&Port::Cloudly) {
        Some((_, Effect::Heartbeat { heartbeat, .. })) => (**heartbeat).clone(),
        other => panic!("{other:?}"),
    }
}

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
        &[good(Port::Cloudly), Action::Observe(View::Silent), Action::Elapse],
    );
    let status = beat(&world).status.expect("the Supervisor fell silent");
    assert_eq!(status.supervisor.available, Some(false));
    assert_eq!(status.release, None, "nobody knows what runs");
}

#[test]
fn a_first_heartbeat_leaves_out_what_was_not_looked_at() {
    let mut world = World::new(true);
    world.act(good(Port::Cloudly));
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    let first = serde_json::to_value(beat(&world).status.expect("a first status")).unwrap();
    for member in ["supervisor", "os", "release", "network"] {
        assert_eq!(first.get(member), None, "{member} in {first}");
    }
    assert_eq!(first["agent"]["state"], "idle");
    play(&mut world, &[good(Port::Cloudly), Action::Observe(View::Actual)]);
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    let second = beat(&world).status.expect("another status");
    assert_eq!(second.supervisor.available, Some(true));
    assert_eq!(second.running(), Some(commit(1).as_str()));
}

#[test]
fn an_idle_heartbeat_writes_nothing_to_the_disk() {
    let mut world = World::enrolled();
    world.settle();
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
        assert!(world.machine.shared().durable.node.is_some());
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
    let revision = world.machine.shared().durable.revision();
    let Some((_, Event::HeartbeatAnswered { instructions, .. })) = world
        .log
        .iter()
        .rev()
        .find(|(_, event)| matches!(event, Event::HeartbeatAnswered { .. }))
    else {
        panic!()
    };
    let mut stale = instructions.clone();
    stale.desired = Some(Desired {
        revision: revision - 1,
        issued_at: world.now().wall,
        reset: false,
        app: Some(desired_app(4, PolicyKind::Plain)),
        fallback: None,
        host_os: None,
    });
    while !world.pending.contains_key(&Port::Cloudly) {
        world.act(Action::Elapse);
    }
    let (op, _) = world.pending.remove(&Port::Cloudly).unwrap();
    world.feed(Event::HeartbeatAnswered {
        op,
        node_id: world.tokens.in_use().cloned(),
        instructions: stale,
        credentials_stored: false,
    });
    assert_eq!(world.machine.shared().durable.revision(), revision);
    assert_eq!(world.machine.agent_state(), AgentState::Idle);
}

/// The result of an operator's command.
fn result_of(world: &mut World, command: CommandKind) -> Option<wire::CommandResult> {
    play(world, &[Action::Command(command)]);
    for _ in 0..20 {
        world.act(Action::Elapse);
        world.act(good(Port::Supervisor));
        let result = world.machine.shared().durable.commands.results().next();
        if result.is_some() {
            return result;
        }
        world.act(good(Port::Cloudly));
    }
    None
}

#[test]
fn a_command_is_executed_once() {
    let mut world = World::enrolled();
    let result = result_of(&mut world, CommandKind::RestartService).unwrap();
    assert_eq!(result.state, CommandState::Succeeded);
    world.settle();
    assert_eq!(left(&world, "RestartService"), 1);
    let open = world.machine.shared().durable.commands.results().next();
    assert!(open.is_none(), "its result was delivered");
}

#[test]
fn no_command_ends_a_program_while_a_lease_of_any_scope_lives() {
    for scope in [LockScope::App, LockScope::HostOs, LockScope::Reboot] {
        for (command, call) in [
            (CommandKind::StopService, "StopService"),
            (CommandKind::RestartService, "RestartService"),
            (CommandKind::Reboot, "Reboot"),
        ] {
            let mut world = World::enrolled();
            world.feed(Event::LocalRequested {
                request: RequestId(1),
                call: LocalCall::Lock {
                    name: "migration".into(),
                    owner: "onebox".into(),
                    request: LockRequest {
                        reason: "migrating".into(),
                        ttl_seconds: 3600,
                        scope,
                    },
                },
            });
            // Whether the lock files could be made makes no difference.
            world.act(Action::Answer(Port::LockFiles, Reply::Refused));
            let result = result_of(&mut world, command).unwrap();
            assert_eq!(result.state, CommandState::Failed);
            assert!(
                result.message.as_deref().unwrap().contains("migrating"),
                "{result:?}"
            );
            assert_eq!(left(&world, call), 0);
        }
    }
}

#[test]
fn a_stop_says_goodbye_and_then_ends() {
    let mut world = World::enrolled();
    world.settle();
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

#[test]
fn many_commands_are_all_answered_and_delay_no_update() {
    let mut world = proven(2);
    for _ in 0..40 {
        world.act(Action::Command(CommandKind::RestartService));
    }
    heard(&mut world, 4, PolicyKind::Plain);
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(left(&world, "RestartService"), 40);
    assert_eq!(
        (wire(&world), world.machine.shared().durable.commands.is_busy()),
        (UpdateState::Succeeded, false)
    );
}

#[test]
fn a_suspended_node_is_told_that_an_operator_restores_it() {
    let mut world = World::enrolled();
    world.act(Action::Elapse);
    let (op, _) = world.pending.remove(&Port::Cloudly).unwrap();
    let failure = CallFailure {
        kind: CallFailureKind::Suspended,
        code: None,
        message: "Cloudly answered 403: an operator suspended this node".to_owned(),
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    };
    world.feed(Event::HeartbeatFailed { op, failure });
    let doctor = report::doctor::examine(world.machine.shared(), world.machine.state(), world.now());
    let check = doctor
        .checks
        .iter()
        .find(|check| check.name == "cloudly")
        .unwrap();
    let fix = check.fix.as_deref().unwrap();
    assert!(
        fix.contains("an operator runs `cloudly node restore NODE`"),
        "{fix}"
    );
}

#[test]
fn the_open_api_of_an_unmanaged_supervisor_is_a_warning_and_no_failed_check() {
    let world = World::enrolled();
    let doctor = report::doctor::examine(world.machine.shared(), world.machine.state(), world.now());
    let named = |name: &str| doctor.checks.iter().find(|check| check.name == name).unwrap();
    let check = named("supervisor API");
    assert!(named("supervisor").fact.contains("unmanaged") && check.ok && check.warning);
    assert!(check.fix.as_deref().unwrap().contains("tcp/48484"), "{check:?}");
    let failed: Vec<_> = doctor.checks.iter().filter(|check| !check.ok).collect();
    assert!(failed.iter().all(|check| check.name == "guard"), "{failed:?}");
}

#[test]
fn the_doctor_names_the_url_that_it_called() {
    let mut world = World::enrolled();
    let fact = |world: &World| {
        let shared = world.machine.shared();
        let checks = report::doctor::examine(shared, world.machine.state(), world.now()).checks;
        let mut checks = checks.into_iter().filter(|check| check.name == "cloudly");
        checks.next().unwrap().fact
    };
    let accepted = fact(&world);
    assert!(
        accepted.starts_with("https://cloudly.example: last accepted"),
        "{accepted}"
    );
    play(
        &mut world,
        &[Action::Elapse, Action::Answer(Port::Cloudly, Reply::Unavailable)],
    );
    assert_eq!(
        fact(&world),
        "https://cloudly.example: unavailable (1 times in a row)"
    );
}

#[test]
fn the_doctor_tells_times_to_the_second() {
    let mut world = World::enrolled();
    world.stay_away(Duration::from_millis(123));
    while !world.pending.contains_key(&Port::Cloudly) {
        play(&mut world, &[Action::Elapse]);
    }
    play(&mut world, &[good(Port::Cloudly)]);
    let mark = world.machine.shared().heartbeats.last_contact().unwrap();
    assert!(mark.wall.subsec_nanosecond() > 0, "{}", mark.wall);
    let doctor = report::doctor::examine(world.machine.shared(), world.machine.state(), world.now());
    let check = doctor
        .checks
        .iter()
        .find(|check| check.name == "cloudly")
        .unwrap();
    let (_, time) = check.fact.rsplit_once(' ').unwrap();
    assert!(time.ends_with('Z') && !time.contains('.'), "{check:?}");
}

#[test]
fn a_removed_node_is_not_said_to_wait_for_approval() {
    let mut world = World::enrolled();
    let mut checkpoint = world.disk.clone();
    checkpoint.durable.node.as_mut().unwrap().approval = Approval::Pending;
    world = World::resumed(checkpoint, 1);
    let said = |world: &World| report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(
        said(&world).contains("waiting for an operator to approve"),
        "{}",
        said(&world)
    );
    play(
        &mut world,
        &[Action::Elapse, Action::Answer(Port::Cloudly, Reply::Gone)],
    );
    assert_eq!(said(&world), "Cloudly: removed.");
}
