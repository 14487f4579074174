//! Commands for nodes.

use super::app::App;
use super::error::{Error, Result};
use super::page::PageRequest;
use super::{audit, nodes, validate};
use crate::auth::operators::Operator;
use crate::clock::after;
use crate::random;
use crate::storage::database::{self, Connection};
use crate::storage::nodes::Lifecycle;
use crate::storage::{commands, locks};
use baseos_interfaces::Timestamp;
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
    let mut tx = app.storage.write().await?;
    locks::node(&mut tx, node_id).await?;
    let node = nodes::find(&mut tx, node_id).await?;
    if node.lifecycle == Lifecycle::Removed {
        return Err(Error::Conflict(format!("the node `{node_id}` was removed")));
    }
    if commands::count_open(&mut tx, node_id, now).await? >= OPEN_MAX {
        let message = format!("{OPEN_MAX} commands already wait for `{node_id}`");
        return Err(Error::Conflict(message));
    }
    let command = CommandRecord {
        id: random::id("cmd_", now)?,
        action: request.action,
        issued_at: now,
        expires_at: after(now, ttl.into()),
        result: None,
    };
    commands::insert(&mut tx, node_id, &command, &operator.id).await?;
    let data = json!({ "command": command.id, "type": command.action.name() });
    audit::record(app, &mut tx, &operator.id, "command.created", Some(node_id), data).await?;
    tx.commit().await?;
    Ok(command)
}

fn check_action(action: &CommandAction) -> Result<()> {
    match action {
        CommandAction::Unknown(_) => {
            let message = "type is checkNow, restartService (params.service), stopService (params.service), startService (params.service), reboot, collectLogs (params.lines) or rotateToken";
            Err(Error::field("/type", FieldCode::UnknownCommand, message))
        }
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

/// A node's commands, newest first.
pub(crate) async fn list(app: &App, node: &str, request: &PageRequest) -> Result<Page<CommandRecord>> {
    let mut connection = app.storage.read().await?;
    nodes::find(&mut connection, node).await?;
    let rows = commands::list(&mut connection, node, request.before()?, request.limit()).await?;
    Ok(request.numbered_page(rows))
}

/// Stores a result that a node reported.
pub(super) async fn store_result(
    c: &mut Connection,
    node: &str,
    mut result: CommandResult,
    now: Timestamp,
) -> database::Result<()> {
    if let Some(message) = &mut result.message {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
    }
    commands::set_result(c, node, &result, now).await
}
