//! Commands for nodes.

use super::app::App;
use super::error::{Error, Result};
use super::nodes::not_found;
use super::page::PageRequest;
use super::validate;
use crate::auth::operators::Operator;
use crate::clock::after;
use crate::random;
use crate::storage::audit::AuditLine;
use crate::storage::nodes::Lifecycle;
use baseos_interfaces::admin::{CommandRecord, CreateCommand, Page};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::command::{CommandAction, CommandResult};
use serde_json::json;

/// More waiting commands than this are a mistake of the one who sends them.
const OPEN_MAX: i64 = 32;
const LOG_LINES_MAX: u32 = 500;
/// The part of a result's message that is kept, bytes.
const MESSAGE_MAX_BYTES: usize = 16 * 1024;

pub(crate) async fn create(
    app: &App,
    operator: &Operator,
    node_id: &str,
    request: CreateCommand,
) -> Result<CommandRecord> {
    check_action(&request.action)?;
    let ttl = validate::ttl(request.ttl_seconds)?;
    let now = app.clock.now();
    let command = CommandRecord {
        id: random::id("cmd_", now)?,
        action: request.action,
        issued_at: now,
        expires_at: after(now, ttl.into()),
        result: None,
    };
    let data = json!({ "command": command.id, "type": command.action.name() });
    let line = AuditLine::new(&operator.id, "command.created", Some(node_id), data);
    app.storage
        .create_command(node_id, &command, line, |node, open| {
            let node = node.ok_or_else(|| not_found(node_id))?;
            if node.lifecycle == Lifecycle::Removed {
                return Err(Error::Conflict(format!("the node `{node_id}` was removed")));
            }
            if open >= OPEN_MAX {
                let message = format!("{OPEN_MAX} commands already wait for `{node_id}`");
                return Err(Error::Conflict(message));
            }
            Ok(())
        })
        .await?;
    Ok(command)
}

fn check_action(action: &CommandAction) -> Result<()> {
    match action {
        CommandAction::Unknown(_) => Err(not_understood(action.name())),
        CommandAction::RestartService { service }
        | CommandAction::StopService { service }
        | CommandAction::StartService { service } => validate::text("/params/service", service, 1, 63),
        CommandAction::CollectLogs { lines } if !(1..=LOG_LINES_MAX).contains(lines) => {
            let message = format!("lines is 1 to {LOG_LINES_MAX}");
            Err(Error::field("/params/lines", FieldCode::OutOfRange, message))
        }
        CommandAction::CollectLogs { .. }
        | CommandAction::CheckNow {}
        | CommandAction::Reboot {}
        | CommandAction::RotateToken {} => Ok(()),
    }
}

/// A command that has parameters of its own reads as unknown when they are not right.
fn not_understood(name: &str) -> Error {
    let params = match name {
        "restartService" | "stopService" | "startService" => "service is the name of a service",
        "collectLogs" => "lines is a whole number, 1 to 500",
        _ => {
            let message = "type is checkNow, restartService (params.service), stopService (params.service), startService \
                           (params.service), reboot, collectLogs (params.lines) or rotateToken";
            return Error::field("/type", FieldCode::UnknownCommand, message);
        }
    };
    let message = format!("the params of {name} are not right: {params}");
    Error::field("/params", FieldCode::InvalidValue, message)
}

/// A node's commands, newest first.
pub(crate) async fn list(app: &App, node: &str, request: &PageRequest) -> Result<Page<CommandRecord>> {
    let rows = app
        .storage
        .commands(node, request.before()?, request.limit())
        .await?;
    let rows = rows.ok_or_else(|| not_found(node))?;
    Ok(request.numbered_page(rows))
}

/// A result as it is kept.
pub(super) fn shortened(mut result: CommandResult) -> CommandResult {
    if let Some(message) = &mut result.message {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
    }
    result
}
