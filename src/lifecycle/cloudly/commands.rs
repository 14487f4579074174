//! Commands: one-off requests of an operator. Each id is executed once, whatever crashes in between.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::SupervisorAnswer;
use crate::lifecycle::facts::{Container, SupervisorError};
use crate::lifecycle::healing::record::Healing;
use crate::lifecycle::in_flight::InFlight;
use crate::lifecycle::locks::leases::Lease;
use crate::lifecycle::report::size_limit::keep_end;
use crate::lifecycle::signal::Signal;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{self as wire, Command, CommandAction, CommandState};
use baseos_interfaces::heartbeat::Instructions;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Ids that are remembered as executed; Cloudly repeats a command only until its result arrives.
const EXECUTED: usize = 128;
/// Commands whose result Cloudly has not confirmed; further ones are not taken up, and Cloudly repeats them. As many as
/// Cloudly lets wait for a node.
const OPEN_MAX: usize = 32;
/// The longest id of a command, bytes; Cloudly's have 20. A command with a longer one is passed over.
const ID_MAX: usize = 64;
/// The part of a result's message that is stored, bytes: the end.
const MESSAGE_MAX: usize = 16 * 1024;
/// The part of a name of Cloudly's that is repeated, characters.
const NAME_SHOWN: usize = 64;
/// Log lines that `collectLogs` brings at most.
const LOG_LINES: u32 = 500;

/// In the checkpoint: an id is here, and on disk, before its effect leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Commands {
    executed: VecDeque<String>,
    pending: Vec<Pending>,
    /// Results Cloudly has not confirmed.
    results: Vec<CommandResult>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    id: String,
    op: OpId,
    reboot: bool,
    /// It restarts the agent, which ends before it is answered.
    #[serde(default)]
    own_restart: bool,
    #[serde(default)]
    stop: Option<Stop>,
}

/// A service that a command stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stop {
    /// No operator had stopped it.
    First(String),
    /// An earlier command had stopped it already.
    Again(String),
}

impl Stop {
    fn of(action: &CommandAction, healing: &Healing) -> Option<Self> {
        let CommandAction::StopService { service } = action else {
            return None;
        };
        Some(if healing.was_stopped_on_purpose(service) {
            Self::Again(service.clone())
        } else {
            Self::First(service.clone())
        })
    }

    fn service(&self) -> &str {
        match self {
            Self::First(service) | Self::Again(service) => service,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CommandResult {
    id: String,
    state: CommandState,
    /// Device's clock.
    finished_at: Timestamp,
    message: Option<String>,
}

/// What executing a command depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    /// The Supervisor's app that is ours, once known.
    pub(crate) app_id: Option<u64>,
    /// The containers that exist, none when the Supervisor is silent; `None`: it was not looked at in this run.
    pub(crate) containers: Option<&'a [Container]>,
    /// The service that is this agent.
    pub(crate) own_service: &'a str,
    /// The lease that lives longest.
    pub(crate) lease: Option<&'a Lease>,
    /// Whether the answer brought a new node token, and it is stored.
    pub(crate) token_rotated: bool,
}

impl Commands {
    /// Whether a command is being executed.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn was_executed(&self, id: &str) -> bool {
        self.executed.iter().any(|executed| executed == id)
    }

    /// Results Cloudly has not confirmed.
    pub(crate) fn results(&self) -> impl Iterator<Item = wire::CommandResult> {
        self.results.iter().map(wire::CommandResult::from)
    }

    /// Cloudly has the results of these commands.
    pub(crate) fn delivered(&mut self, ids: &[String]) {
        self.results.retain(|result| !ids.contains(&result.id));
    }

    /// Takes up the commands of an answer that are new. True: there is a result that Cloudly should hear.
    pub(crate) fn take_up(
        &mut self,
        instructions: &Instructions,
        circumstances: Circumstances<'_>,
        healing: &mut Healing,
        in_flight: &mut InFlight,
        cx: &mut Context,
    ) -> bool {
        let before = self.results.len();
        for command in &instructions.commands {
            if self.was_executed(&command.id) || command.id.len() > ID_MAX {
                continue;
            }
            let plan = plan(&command.action, circumstances);
            if plan == Plan::Later {
                // Cloudly repeats it until the Supervisor has been looked at.
                continue;
            }
            if in_flight.supervisor_swamped() || self.results.len() + self.pending.len() >= OPEN_MAX {
                // Cloudly repeats it until a result comes.
                break;
            }
            if self.executed.len() >= EXECUTED {
                self.executed.pop_front();
            }
            self.executed.push_back(command.id.clone());
            if command.expires_at.is_some_and(|at| at < instructions.server_time) {
                self.finish(command.id.clone(), CommandState::Expired, None, cx.now);
            } else {
                let stop = Stop::of(&command.action, healing);
                if matches!(plan, Plan::Call(_)) {
                    healing.hear(&command.action);
                }
                self.execute(command, plan, stop, circumstances.own_service, in_flight, cx);
            }
        }
        self.results.len() > before
    }

    fn execute(
        &mut self,
        command: &Command,
        plan: Plan,
        stop: Option<Stop>,
        own_service: &str,
        in_flight: &mut InFlight,
        cx: &mut Context,
    ) {
        let call = match plan {
            Plan::Call(call) => call,
            Plan::CheckNow => {
                cx.raise(Signal::DesiredChanged);
                return self.succeed(command, cx.now);
            }
            Plan::Done => return self.succeed(command, cx.now),
            Plan::Refuse(why) => return self.fail(command, why, cx.now),
            Plan::Later => return,
        };
        let reboot = matches!(call, SupervisorCall::Reboot);
        let own_restart = matches!(
            &call,
            SupervisorCall::RestartService { service, .. } if service == own_service
        );
        self.pending.push(Pending {
            id: command.id.clone(),
            op: in_flight.ask_supervisor(call, cx),
            reboot,
            own_restart,
            stop,
        });
    }

    /// The Supervisor answered, or could not be asked. True: it was about a command.
    pub(crate) fn settle(
        &mut self,
        op: OpId,
        answer: &Result<SupervisorAnswer, SupervisorError>,
        healing: &mut Healing,
        now: Stamp,
    ) -> bool {
        let Some(pending) = self.take_pending(op) else {
            return false;
        };
        match (answer, &pending.stop) {
            (Err(error), _) if error.kind.is_refusal() => self.undo_stop(&pending, healing),
            (Err(_), Some(Stop::First(service))) => healing.may_have_been_stopped(service),
            (Ok(_), Some(stop)) => healing.was_stopped(stop.service()),
            (Err(_), Some(Stop::Again(_)) | None) | (Ok(_), None) => {}
        }
        let (state, message) = match answer {
            Ok(SupervisorAnswer::Logs(logs)) => (CommandState::Succeeded, Some(logs.clone())),
            Ok(_) => (CommandState::Succeeded, None),
            Err(error) => (CommandState::Failed, Some(error.message.clone())),
        };
        self.finish(pending.id, state, message, now);
        true
    }

    /// The call did not leave. True: it was about a command.
    pub(crate) fn withheld(&mut self, op: OpId, why: &str, healing: &mut Healing, now: Stamp) -> bool {
        let Some(pending) = self.take_pending(op) else {
            return false;
        };
        self.undo_stop(&pending, healing);
        self.finish(pending.id, CommandState::Failed, Some(why.to_owned()), now);
        true
    }

    /// A stop that was refused is not remembered, unless an earlier one stopped the service, or a later one may.
    fn undo_stop(&mut self, refused: &Pending, healing: &mut Healing) {
        let Some(Stop::First(service)) = &refused.stop else {
            return;
        };
        let mut stops = self
            .pending
            .iter_mut()
            .filter_map(|pending| pending.stop.as_mut());
        match stops.find(|stop| stop.service() == service) {
            Some(later) => *later = Stop::First(service.clone()),
            None => healing.was_not_stopped(service),
        }
    }

    fn take_pending(&mut self, op: OpId) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.op == op)?;
        Some(self.pending.remove(at))
    }

    /// What was under way when the agent ended has an unknown outcome, except a reboot that evidently happened.
    pub(crate) fn settle_after_restart(&mut self, rebooted: bool, healing: &mut Healing, now: Stamp) {
        // An earlier agent took up any number of commands, with ids of any length.
        self.executed.retain(|id| id.len() <= ID_MAX);
        self.pending.retain(|pending| pending.id.len() <= ID_MAX);
        self.results.retain(|result| result.id.len() <= ID_MAX);
        self.results.truncate(OPEN_MAX);
        let forgotten = self.executed.len().saturating_sub(EXECUTED);
        self.executed.drain(..forgotten);
        for pending in std::mem::take(&mut self.pending) {
            if let Some(Stop::First(service)) = &pending.stop {
                healing.may_have_been_stopped(service);
            }
            let (state, message) = if pending.reboot && rebooted {
                (CommandState::Succeeded, "the device has rebooted")
            } else if pending.own_restart {
                (CommandState::Succeeded, "the agent has started again")
            } else {
                (
                    CommandState::Failed,
                    "the agent restarted before the outcome was known",
                )
            };
            self.finish(pending.id, state, Some(message.to_owned()), now);
        }
    }

    fn succeed(&mut self, command: &Command, now: Stamp) {
        self.finish(command.id.clone(), CommandState::Succeeded, None, now);
    }

    fn fail(&mut self, command: &Command, why: String, now: Stamp) {
        self.finish(command.id.clone(), CommandState::Failed, Some(why), now);
    }

    fn finish(&mut self, id: String, state: CommandState, mut message: Option<String>, now: Stamp) {
        if let Some(message) = &mut message {
            keep_end(message, MESSAGE_MAX);
        }
        self.results.push(CommandResult {
            id,
            state,
            finished_at: now.wall,
            message,
        });
    }
}

/// What a command comes to under these circumstances.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// Not yet known: it is not taken up.
    Later,
    CheckNow,
    /// It is done already.
    Done,
    Call(SupervisorCall),
    Refuse(String),
}

/// A command that ends a program fails while a lease lives. The Supervisor would refuse it for the lock files, but those may
/// be missing (observed: S10r).
fn held_back(action: &CommandAction, lease: Option<&Lease>) -> Option<Plan> {
    let ends_a_program = matches!(
        action,
        CommandAction::StopService { .. } | CommandAction::RestartService { .. } | CommandAction::Reboot {}
    );
    let lease = lease.filter(|_| ends_a_program)?;
    Some(Plan::Refuse(format!(
        "{} holds the lock `{}`: {}",
        lease.owner, lease.name, lease.reason
    )))
}

fn plan(action: &CommandAction, circumstances: Circumstances<'_>) -> Plan {
    if let Some(refused) = held_back(action, circumstances.lease) {
        return refused;
    }
    match action {
        CommandAction::CheckNow {} => Plan::CheckNow,
        CommandAction::RotateToken {} if circumstances.token_rotated => Plan::Done,
        CommandAction::RotateToken {} => {
            Plan::Refuse("the answer brought no new token, or it could not be stored".to_owned())
        }
        CommandAction::StopService { service } if service == circumstances.own_service => {
            Plan::Refuse("the agent does not stop itself".to_owned())
        }
        CommandAction::StopService { service } => on_service(service, circumstances, |app_id, service| {
            SupervisorCall::StopService { app_id, service }
        }),
        CommandAction::StartService { service } => on_service(service, circumstances, |app_id, service| {
            SupervisorCall::StartService { app_id, service }
        }),
        CommandAction::RestartService { service } => on_service(service, circumstances, |app_id, service| {
            SupervisorCall::RestartService { app_id, service }
        }),
        CommandAction::Reboot {} => Plan::Call(SupervisorCall::Reboot),
        CommandAction::CollectLogs { lines } => Plan::Call(SupervisorCall::CollectLogs {
            lines: (*lines).min(LOG_LINES),
        }),
        CommandAction::Unknown(_) => {
            let name: String = action.name().chars().take(NAME_SHOWN).collect();
            Plan::Refuse(format!("this agent does not know the command `{name}`"))
        }
    }
}

/// A call that acts on a service. With one container in the app, the Supervisor takes any name for that one (observed), so
/// a service without a container is refused.
fn on_service(
    service: &str,
    circumstances: Circumstances<'_>,
    call: impl FnOnce(u64, String) -> SupervisorCall,
) -> Plan {
    let Some(containers) = circumstances.containers else {
        return Plan::Later;
    };
    let Some(app_id) = circumstances.app_id else {
        return Plan::Refuse("the Supervisor has not been looked at yet".to_owned());
    };
    if containers.iter().any(|container| container.service == service) {
        return Plan::Call(call(app_id, service.to_owned()));
    }
    Plan::Refuse(format!(
        "the service {service} has no container, and the Supervisor would act on another one"
    ))
}

impl From<&CommandResult> for wire::CommandResult {
    fn from(result: &CommandResult) -> Self {
        Self {
            id: result.id.clone(),
            state: result.state,
            finished_at: result.finished_at,
            message: result.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
