//! Commands: one-off requests of an operator to one node (contract §4.2).

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// A command. It repeats in every answer until its result arrives; the agent executes an id once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// `cmd_…`.
    pub id: String,
    /// What to do, and with what.
    #[serde(flatten)]
    pub action: CommandAction,
    /// When it was created, Cloudly's clock.
    pub issued_at: Timestamp,
    /// Not to be begun after this, on Cloudly's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "params", rename_all = "camelCase")]
pub enum CommandAction {
    /// Look at the desired state now.
    CheckNow {},
    /// Restart one service.
    RestartService {
        /// The service's name in the release.
        service: String,
    },
    /// Stop one service; the agent leaves it alone until it is started or restarted by a command.
    StopService {
        /// The service's name in the release.
        service: String,
    },
    /// Start one service that was stopped.
    StartService {
        /// The service's name in the release.
        service: String,
    },
    /// Reboot the device; honours update locks.
    Reboot {},
    /// Send the last log lines as the command's message.
    CollectLogs {
        /// How many lines; at most 500.
        #[serde(default = "default_lines")]
        lines: u32,
    },
    /// Change to a new node token, which the same answer brings as `credentials`.
    RotateToken {},
    /// A command this version does not know; reported as failed.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

fn default_lines() -> u32 {
    200
}

impl CommandAction {
    /// The type's name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::CheckNow {} => "checkNow",
            Self::RestartService { .. } => "restartService",
            Self::StopService { .. } => "stopService",
            Self::StartService { .. } => "startService",
            Self::Reboot {} => "reboot",
            Self::CollectLogs { .. } => "collectLogs",
            Self::RotateToken {} => "rotateToken",
            Self::Unknown(value) => value.get("type").and_then(|t| t.as_str()).unwrap_or("unknown"),
        }
    }
}

/// What a node reports of a command it is done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// The command's id.
    pub id: String,
    /// How it ended.
    pub state: CommandState,
    /// When it was done, device's clock.
    pub finished_at: Timestamp,
    /// Why it failed, or what it brought; at most 16 KiB.
    pub message: Option<String>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandState {
    /// Done.
    Succeeded,
    /// Not done; the message says why.
    Failed,
    /// It came after its `expiresAt`.
    Expired,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_log_has_two_hundred_lines_unless_told_otherwise() {
        let action: CommandAction =
            serde_json::from_value(json!({ "type": "collectLogs", "params": {} })).unwrap();
        assert_eq!(action, CommandAction::CollectLogs { lines: 200 });
    }

    #[test]
    fn an_actions_name_is_its_type_on_the_wire() {
        let service = json!({ "service": "onebox" });
        let params = |name: &str| match name {
            "restartService" | "stopService" | "startService" => service.clone(),
            _ => json!({}),
        };
        for name in [
            "checkNow",
            "restartService",
            "stopService",
            "startService",
            "reboot",
            "collectLogs",
            "rotateToken",
            "of a later version",
        ] {
            let json = json!({ "type": name, "params": params(name) });
            let action: CommandAction = serde_json::from_value(json).unwrap();
            assert_eq!(action.name(), name);
            assert_eq!(
                matches!(action, CommandAction::Unknown(_)),
                name.contains(' '),
                "{name}"
            );
        }
    }
}
