//! The modelled Cloudly.

use super::requests::call_failure;
use super::{CommandKind, PolicyKind, Reply, World, desired_app, release};
use crate::lifecycle::Event;
use crate::lifecycle::effect::OpId;
use crate::lifecycle::event::Registration;
use baseos_interfaces::command::{Command, CommandAction};
use baseos_interfaces::desired::{Desired, DesiredApp};
use baseos_interfaces::heartbeat::{Heartbeat, Instructions};
use baseos_interfaces::register::Approval;
use baseos_interfaces::token::TokenId;

impl World {
    /// An operator desires a release (0: none).
    pub(super) fn desire(&mut self, number: u8, policy: PolicyKind) {
        self.desire_app((number > 0).then(|| desired_app(number, policy)));
    }

    pub(crate) fn desire_app(&mut self, app: Option<DesiredApp>) {
        self.revision += 1;
        let fallback = (self.fallback > 0).then(|| release(self.fallback));
        self.desired = Some(Desired {
            revision: self.revision,
            issued_at: self.clock.wall,
            reset: false,
            app,
            fallback,
            host_os: None,
        });
    }

    /// An operator sends a command.
    pub(super) fn command(&mut self, command: CommandKind) {
        let action = match command {
            CommandKind::Check => CommandAction::CheckNow {},
            CommandKind::RestartService => CommandAction::RestartService {
                service: "onebox".into(),
            },
            CommandKind::StopService => CommandAction::StopService {
                service: "onebox".into(),
            },
            CommandKind::Reboot => CommandAction::Reboot {},
        };
        self.command_action(action);
    }

    pub(crate) fn command_action(&mut self, action: CommandAction) {
        self.next_command += 1;
        self.commands.push(Command {
            id: format!("cmd_{}", self.next_command),
            action,
            issued_at: self.clock.wall,
            expires_at: None,
        });
    }

    pub(super) fn registered(&mut self, op: OpId, token: &TokenId, reply: Reply) -> Event {
        match call_failure(reply) {
            Some(failure) => Event::RegisterFailed { op, failure },
            None => {
                let node_id = format!("node_{token}");
                self.tokens.registered(&node_id);
                let node = Box::new(Registration {
                    node_id,
                    approval: Approval::Approved,
                    approval_reason: None,
                    fleet: None,
                    next_heartbeat_seconds: 15,
                    limits: self.limits,
                    server_time: self.server_time(),
                });
                Event::Registered { op, node }
            }
        }
    }

    pub(super) fn heartbeat_answered(&mut self, op: OpId, heartbeat: &Heartbeat, reply: Reply) -> Event {
        if let Some(failure) = call_failure(reply) {
            if matches!(reply, Reply::Refused | Reply::Gone) {
                self.tokens.refused();
            }
            return Event::HeartbeatFailed { op, failure };
        }
        self.commands.retain(|command| {
            heartbeat
                .command_results
                .iter()
                .all(|result| result.id != command.id)
        });
        let instructions = Box::new(Instructions {
            server_time: self.server_time(),
            next_heartbeat_seconds: 60,
            resend_full_status: false,
            desired: self
                .desired
                .clone()
                .filter(|desired| desired.revision != heartbeat.observed_revision),
            commands: self.commands.clone(),
            approval: None,
            clone_suspected: self.clone_suspected,
        });
        Event::HeartbeatAnswered {
            op,
            node_id: self.tokens.accepted(),
            instructions,
            credentials_stored: false,
        }
    }

    /// What Cloudly would send with its next answer.
    pub(crate) fn undelivered(&self) -> Option<&Desired> {
        self.desired
            .as_ref()
            .filter(|desired| desired.revision > self.machine.shared().durable.revision())
    }
}
