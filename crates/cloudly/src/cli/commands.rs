//! `cloudly node command` and `cloudly node commands`.

use super::client::Client;
use super::durations::{MONTH, duration};
use super::output::{self, Outcome, dash, time};
use baseos_interfaces::admin::{CommandRecord, CreateCommand, Page};
use baseos_interfaces::command::{CommandAction, CommandState};
use clap::{Args, ValueEnum};

/// Longest part of a message in a table, characters.
const CELL_MAX: usize = 100;
/// How many log lines are asked for.
const LINES: u32 = 200;

#[derive(Debug, Args)]
pub(super) struct CommandArgs {
    /// Id or name
    node: String,
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// For restartService, stopService and startService: which one
    #[arg(long, required_if_eq_any([("action", "restartService"), ("action", "stopService"), ("action", "startService")]))]
    service: Option<String>,
    /// For collectLogs: how many [default: 200]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    lines: Option<u32>,
    /// How long the command may wait for the node, from 1s to 30d
    #[arg(long, value_name = "DURATION", value_parser = duration(1, MONTH), default_value = "1h")]
    ttl: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    #[value(name = "checkNow", alias = "check-now")]
    CheckNow,
    #[value(name = "restartService", alias = "restart-service")]
    RestartService,
    #[value(name = "stopService", alias = "stop-service")]
    StopService,
    #[value(name = "startService", alias = "start-service")]
    StartService,
    Reboot,
    #[value(name = "collectLogs", alias = "collect-logs")]
    CollectLogs,
    #[value(name = "rotateToken", alias = "rotate-token")]
    RotateToken,
}

/// What is asked for. An option of another action is refused: it would be ignored.
fn action(
    action: Action,
    service: Option<String>,
    lines: Option<u32>,
) -> Result<CommandAction, &'static str> {
    let of_a_service = matches!(
        action,
        Action::RestartService | Action::StopService | Action::StartService
    );
    if service.is_some() && !of_a_service {
        return Err("--service is an option of restartService, stopService and startService alone");
    }
    if lines.is_some() && !matches!(action, Action::CollectLogs) {
        return Err("--lines is an option of collectLogs alone");
    }
    let service = service.unwrap_or_default();
    Ok(match action {
        Action::CheckNow => CommandAction::CheckNow {},
        Action::RestartService => CommandAction::RestartService { service },
        Action::StopService => CommandAction::StopService { service },
        Action::StartService => CommandAction::StartService { service },
        Action::Reboot => CommandAction::Reboot {},
        Action::CollectLogs => CommandAction::CollectLogs {
            lines: lines.unwrap_or(LINES),
        },
        Action::RotateToken => CommandAction::RotateToken {},
    })
}

pub(super) async fn send(client: &Client, args: CommandArgs) -> Outcome {
    let action = action(args.action, args.service, args.lines)?;
    let id = client.id_of_reachable(&args.node).await?;
    let request = CreateCommand {
        action,
        ttl_seconds: Some(args.ttl),
    };
    let command: CommandRecord = client.post(&format!("nodes/{id}/commands"), &request).await?;
    if client.json {
        return output::json(&command);
    }
    output::line(&format!(
        "{} goes to {id} with its next heartbeat, until {}: {}",
        command.action.name(),
        time(command.expires_at),
        command.id
    ))
}

pub(super) async fn list(client: &Client, node: &str) -> Outcome {
    let id = client.node_id(node).await?;
    let page: Page<CommandRecord> = client.get(&format!("nodes/{id}/commands")).await?;
    let row = |command: &CommandRecord| {
        let (state, message) = match &command.result {
            None => ("waiting", None),
            Some(result) => (state(result.state), result.message.clone()),
        };
        [
            command.id.clone(),
            command.action.name().to_owned(),
            time(command.issued_at),
            state.to_owned(),
            message.map_or_else(dash, |message| in_one_cell(&message)),
        ]
    };
    let headers = ["ID", "TYPE", "ISSUED", "RESULT", "MESSAGE"];
    let none = "no command was sent to this node";
    output::list(client.json, &page.items, headers, row, none)
}

/// The first line, shortened; a log has its own command.
fn in_one_cell(message: &str) -> String {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or_default();
    let mut cell: String = first.chars().take(CELL_MAX).collect();
    if cell.len() < first.len() {
        cell.push('…');
    }
    match lines.count() {
        0 => cell,
        more => format!("{cell} (and {more} lines: cloudly node logs NODE --last)"),
    }
}

const fn state(state: CommandState) -> &'static str {
    match state {
        CommandState::Succeeded => "succeeded",
        CommandState::Failed => "failed",
        CommandState::Expired => "expired",
        CommandState::Unknown => "unknown",
    }
}
