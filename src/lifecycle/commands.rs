//! Commands: one-off orders of an operator. Each id is executed once, whatever crashes in between.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::SupervisorError;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::command::{Command, CommandAction, CommandResult, CommandState};
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::local::LockScope;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Ids remembered as executed; Cloudly repeats a command only until its result arrives.
const EXECUTED: usize = 128;

/// Commands in the checkpoint: an id is written here before its effect leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandBook {
    executed: VecDeque<String>,
    pending: Vec<Pending>,
    /// Results Cloudly has not confirmed.
    pub results: Vec<CommandResult>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    id: String,
    op: OpId,
    reboot: bool,
}

impl CommandBook {
    /// Whether a command is being executed.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    fn finish(&mut self, id: String, state: CommandState, message: Option<String>, now: Stamp) {
        self.results.push(CommandResult {
            id,
            state,
            finished_at: now.wall,
            message,
        });
    }

    /// What was under way when the agent ended has an unknown outcome, except a reboot that evidently happened.
    pub(super) fn settle_after_restart(&mut self, rebooted: bool, now: Stamp) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.reboot && rebooted {
                self.finish(
                    pending.id,
                    CommandState::Succeeded,
                    Some("the device has rebooted".into()),
                    now,
                );
            } else {
                let message = "the agent restarted before the outcome was known".to_owned();
                self.finish(pending.id, CommandState::Failed, Some(message), now);
            }
        }
    }
}

impl Lifecycle {
    /// Takes up the commands of an answer that are new.
    pub(super) fn take_commands(&mut self, orders: &Orders, rotated: bool, cx: &mut Context) {
        for command in &orders.commands {
            if self.book.commands.executed.contains(&command.id) {
                continue;
            }
            if self.ports.supervisor_swamped() {
                // Cloudly repeats it until a result comes.
                break;
            }
            let commands = &mut self.book.commands;
            if commands.executed.len() >= EXECUTED {
                commands.executed.pop_front();
            }
            commands.executed.push_back(command.id.clone());
            let expired = command.expires_at.is_some_and(|at| at < orders.server_time);
            if expired {
                commands.finish(command.id.clone(), CommandState::Expired, None, cx.now);
                self.beats.urge();
            } else {
                self.execute(command, rotated, cx);
            }
        }
    }

    fn execute(&mut self, command: &Command, rotated: bool, cx: &mut Context) {
        let ready = match &command.action {
            CommandAction::CheckNow {} => {
                cx.raise(Event::DesiredChanged);
                Ok(None)
            }
            CommandAction::RotateToken {} if rotated => Ok(None),
            CommandAction::RotateToken {} => {
                Err("the answer brought no new token, or it could not be stored".to_owned())
            }
            CommandAction::RestartService { service } => {
                match self.book.target.app_id().or(self.run.app_id) {
                    Some(app_id) => {
                        let call = SupervisorCall::RestartService {
                            app_id,
                            service: service.clone(),
                        };
                        return self.call_for(command, call, false, cx);
                    }
                    None => Err("the app's id is not known yet: the Supervisor has not answered".to_owned()),
                }
            }
            CommandAction::Reboot {} => match self.book.leases.holder(LockScope::Reboot, cx.now.boot) {
                None => return self.call_for(command, SupervisorCall::Reboot, true, cx),
                Some(lease) => Err(format!(
                    "{} holds the lock `{}`: {}",
                    lease.owner, lease.name, lease.reason
                )),
            },
            CommandAction::CollectLogs { lines } => {
                let call = SupervisorCall::CollectLogs {
                    lines: (*lines).min(500),
                };
                return self.call_for(command, call, false, cx);
            }
            CommandAction::Unknown(_) => Err(format!(
                "this agent does not know the command `{}`",
                command.action.name()
            )),
        };
        let (state, message) = match ready {
            Ok(message) => (CommandState::Succeeded, message),
            Err(message) => (CommandState::Failed, Some(message)),
        };
        self.book
            .commands
            .finish(command.id.clone(), state, message, cx.now);
        self.beats.urge();
    }

    fn call_for(&mut self, command: &Command, call: SupervisorCall, reboot: bool, cx: &mut Context) {
        let op = self.ports.ask_supervisor(call, cx);
        self.book.commands.pending.push(Pending {
            id: command.id.clone(),
            op,
            reboot,
        });
    }

    /// The Supervisor answered; true if it was for a command.
    pub(super) fn finish_command(
        &mut self,
        op: OpId,
        answer: &Result<SupervisorAnswer, SupervisorError>,
        cx: &mut Context,
    ) -> bool {
        let Some(at) = self
            .book
            .commands
            .pending
            .iter()
            .position(|pending| pending.op == op)
        else {
            return false;
        };
        let pending = self.book.commands.pending.remove(at);
        let (state, message) = match answer {
            Ok(SupervisorAnswer::Logs(logs)) => (CommandState::Succeeded, Some(logs.clone())),
            Ok(_) => (CommandState::Succeeded, None),
            Err(error) => (CommandState::Failed, Some(error.message.clone())),
        };
        self.book.commands.finish(pending.id, state, message, cx.now);
        self.beats.urge();
        true
    }
}
