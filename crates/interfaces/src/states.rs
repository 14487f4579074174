//! Names of states on the wire (contract §5).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a node is in an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateState {
    /// Nothing to do.
    #[default]
    Idle,
    /// The release is known and being checked; nothing is touched yet.
    Staged,
    /// Ready but held back; `blockedBy` says by what.
    Waiting,
    /// The Supervisor works on it.
    Applying,
    /// Host OS only: the device restarts.
    Rebooting,
    /// It runs and must stay healthy.
    Verifying,
    /// It runs and stayed healthy.
    Succeeded,
    /// Given up; the release is known to be bad on this node.
    Failed,
    /// The release ran or half ran and is bad; going back, or waiting for an operator.
    RollbackNeeded,
    /// The previous release runs again.
    RolledBack,
    /// Withdrawn by the operator.
    Cancelled,
    /// A newer desired release took its place.
    Superseded,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

impl UpdateState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Staged => "staged",
            Self::Waiting => "waiting",
            Self::Applying => "applying",
            Self::Rebooting => "rebooting",
            Self::Verifying => "verifying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RollbackNeeded => "rollback-needed",
            Self::RolledBack => "rolled-back",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more will happen by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::RolledBack | Self::Cancelled | Self::Superseded
        )
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a node is in a rollout: the mission's five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Known to the node, not begun.
    Staged,
    /// Being applied or verified.
    Applying,
    /// Runs and is healthy.
    Succeeded,
    /// Given up or gone back.
    Failed,
    /// Bad and not yet gone back.
    RollbackNeeded,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

impl RolloutState {
    /// Derives the rollout state from a node's report; `None` when the node has not taken it up (or dropped it).
    pub const fn from_update(state: UpdateState) -> Option<Self> {
        match state {
            UpdateState::Staged | UpdateState::Waiting => Some(Self::Staged),
            UpdateState::Applying | UpdateState::Rebooting | UpdateState::Verifying => Some(Self::Applying),
            UpdateState::Succeeded => Some(Self::Succeeded),
            UpdateState::Failed | UpdateState::RolledBack => Some(Self::Failed),
            UpdateState::RollbackNeeded => Some(Self::RollbackNeeded),
            UpdateState::Idle | UpdateState::Cancelled | UpdateState::Superseded | UpdateState::Unknown => {
                None
            }
        }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Applying => "applying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RollbackNeeded => "rollback-needed",
            Self::Unknown => "unknown",
        }
    }
}

/// The agent's lifecycle state, as reported in `agent.state` and on the local API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// No node token, and no join token to get one.
    Unenrolled,
    /// Asking Cloudly for an identity.
    Registering,
    /// Enrolled; nothing to do.
    Idle,
    /// Checking a release before anything is touched.
    Staging,
    /// An update is ready but held back.
    Waiting,
    /// The Supervisor works on the update.
    Applying,
    /// The new release runs and is being watched.
    Verifying,
    /// The last update was given up.
    Failed,
    /// The new release is bad; going back, or waiting for an operator.
    RollbackNeeded,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

impl AgentState {
    /// The name on the wire and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unenrolled => "unenrolled",
            Self::Registering => "registering",
            Self::Idle => "idle",
            Self::Staging => "staging",
            Self::Waiting => "waiting",
            Self::Applying => "applying",
            Self::Verifying => "verifying",
            Self::Failed => "failed",
            Self::RollbackNeeded => "rollback-needed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_shown_as_it_is_on_the_wire() {
        for state in [
            UpdateState::Idle,
            UpdateState::Staged,
            UpdateState::Waiting,
            UpdateState::Applying,
            UpdateState::Rebooting,
            UpdateState::Verifying,
            UpdateState::Succeeded,
            UpdateState::Failed,
            UpdateState::RollbackNeeded,
            UpdateState::RolledBack,
            UpdateState::Cancelled,
            UpdateState::Superseded,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        }
    }

    #[test]
    fn a_state_of_the_agent_is_shown_as_it_is_on_the_wire() {
        for state in [
            AgentState::Unenrolled,
            AgentState::Registering,
            AgentState::Idle,
            AgentState::Staging,
            AgentState::Waiting,
            AgentState::Applying,
            AgentState::Verifying,
            AgentState::Failed,
            AgentState::RollbackNeeded,
            AgentState::Unknown,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.to_string(), state.as_str());
        }
    }

    #[test]
    fn an_update_is_somewhere_in_its_rollout_and_ends_by_itself_or_not() {
        use UpdateState as S;
        for (state, rollout, ends) in [
            (S::Idle, None, false),
            (S::Staged, Some(RolloutState::Staged), false),
            (S::Waiting, Some(RolloutState::Staged), false),
            (S::Applying, Some(RolloutState::Applying), false),
            (S::Rebooting, Some(RolloutState::Applying), false),
            (S::Verifying, Some(RolloutState::Applying), false),
            (S::Succeeded, Some(RolloutState::Succeeded), true),
            (S::Failed, Some(RolloutState::Failed), true),
            (S::RollbackNeeded, Some(RolloutState::RollbackNeeded), false),
            (S::RolledBack, Some(RolloutState::Failed), true),
            (S::Cancelled, None, true),
            (S::Superseded, None, true),
            (S::Unknown, None, false),
        ] {
            assert_eq!(RolloutState::from_update(state), rollout, "{state}");
            assert_eq!(state.is_terminal(), ends, "{state}");
            if let Some(rollout) = rollout {
                assert_eq!(serde_json::to_value(rollout).unwrap(), rollout.as_str());
            }
        }
        assert_eq!(serde_json::to_value(RolloutState::Unknown).unwrap(), "unknown");
        assert_eq!(RolloutState::Unknown.as_str(), "unknown");
    }
}
