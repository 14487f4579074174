//! What a Cloudly that keeps to no limit may cost the device.

use super::*;
use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::time::Millis;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;

fn now() -> Stamp {
    Stamp {
        boot: Millis(1000),
        wall: Timestamp::UNIX_EPOCH,
        entropy: 0,
    }
}

fn command(id: impl Into<String>, action: CommandAction) -> Command {
    Command {
        id: id.into(),
        action,
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

fn take_up(commands: &mut Commands, new: Vec<Command>) {
    let instructions = Instructions {
        server_time: Timestamp::UNIX_EPOCH,
        next_heartbeat_seconds: 60,
        resend_full_status: false,
        desired: None,
        commands: new,
        approval: None,
        clone_suspected: false,
    };
    let circumstances = Circumstances {
        app_id: Some(1),
        containers: Some(&[]),
        own_service: "baserunner",
        lease: None,
        token_rotated: false,
    };
    let mut cx = Context::new(now(), "test", Grants::Freely);
    let mut healing = Healing::default();
    commands.take_up(
        &instructions,
        circumstances,
        &mut healing,
        &mut InFlight::default(),
        &mut cx,
    );
}

fn many() -> Vec<Command> {
    let unknown = |number: usize| {
        let action = serde_json::json!({ "type": "x".repeat(1000), "params": {} });
        command(format!("cmd_{number}"), CommandAction::Unknown(action))
    };
    (0..12_000).map(unknown).collect()
}

fn ids(commands: &Commands) -> Vec<String> {
    commands.results().map(|result| result.id).collect()
}

#[test]
fn of_thousands_of_commands_as_many_are_taken_up_as_cloudly_may_let_wait() {
    let mut commands = Commands::default();
    for _ in 0..3 {
        take_up(&mut commands, many());
        assert_eq!(commands.results.len(), OPEN_MAX);
        assert!(commands.executed.len() <= EXECUTED);
    }
    let stored = serde_json::to_vec(&commands).unwrap();
    assert!(stored.len() < HEARTBEAT_MAX_BYTES, "{}", stored.len());
}

#[test]
fn commands_beyond_the_limit_are_taken_up_once_results_have_arrived() {
    let mut commands = Commands::default();
    take_up(&mut commands, many());
    let first = ids(&commands);
    commands.delivered(&first);
    take_up(&mut commands, many());
    let second = ids(&commands);
    assert_eq!(second.first().unwrap(), "cmd_32");
    assert!(second.iter().all(|id| !first.contains(id)), "executed twice");
}

#[test]
fn a_command_with_an_absurdly_long_id_is_passed_over() {
    let mut commands = Commands::default();
    let check = |id: String| command(id, CommandAction::CheckNow {});
    take_up(
        &mut commands,
        vec![check("x".repeat(70_000)), check("cmd_1".to_owned())],
    );
    assert_eq!(ids(&commands), ["cmd_1"]);
    assert_eq!(commands.executed, ["cmd_1"]);
}

#[test]
fn of_a_long_message_the_end_is_stored() {
    let mut commands = Commands::default();
    let log = format!("{}the end", "x".repeat(1 << 20));
    commands.finish("cmd_1".to_owned(), CommandState::Succeeded, Some(log), now());
    let message = commands.results[0].message.as_ref().unwrap();
    assert!(message.len() <= MESSAGE_MAX + '…'.len_utf8() && message.ends_with("the end"));
}

#[test]
fn what_an_earlier_agent_took_up_beyond_the_limits_is_dropped_at_the_start() {
    let mut commands = Commands::default();
    let finish = |commands: &mut Commands, id: String| {
        commands.executed.push_back(id.clone());
        commands.finish(id, CommandState::Succeeded, None, now());
    };
    finish(&mut commands, "x".repeat(70_000));
    for number in 0..12_000 {
        finish(&mut commands, format!("cmd_{number}"));
    }
    commands.settle_after_restart(false, &mut Healing::default(), now());
    assert_eq!(ids(&commands).first().unwrap(), "cmd_0");
    assert_eq!(commands.results.len(), OPEN_MAX);
    assert!(commands.executed.iter().all(|id| id.len() <= ID_MAX));
}
