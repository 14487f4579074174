//! Why an update is not going on, and since when.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// One reason why an update is not going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// What holds it back.
    pub kind: BlockerKind,
    /// Who or what holds the update back: a service that holds a lock or does not start, the path of a lock file, an
    /// image that cannot be pulled, a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// More than the kind says, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when, device's clock.
    pub since: Timestamp,
    /// Until when at the latest, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What kind of reason holds an update back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlockerKind {
    /// Onebox or another service holds an update lock.
    LocalLock,
    /// No maintenance window is open.
    Window,
    /// Somebody at the device deferred it.
    Deferred,
    /// Somebody at the device has to approve it.
    Approval,
    /// The rollout has not given this node its turn.
    RolloutSlot,
    /// Not enough space for the images.
    DiskSpace,
    /// A host OS update is under way.
    HostUpdate,
    /// The Supervisor does not answer.
    SupervisorUnavailable,
    /// An image cannot be pulled; the Supervisor tries again.
    PullFailing,
    /// An image cannot be pulled because the disk is full; the Supervisor tries again.
    DiskFull,
    /// The container of a service cannot be started; the Supervisor tries again.
    StartFailing,
    /// The Supervisor waits after failures of an earlier target; a newer one does not end that.
    SupervisorBackoff,
    /// An attempt failed; the next one is due later.
    RetryBackoff,
    /// The update could not be undone, and its policy asks for that.
    RollbackImpossible,
    /// The state cannot be saved, so nothing may be begun.
    StateNotWritable,
    /// Cloudly sees two agents with this node's identity.
    CloneSuspected,
    /// A value this version does not know.
    #[serde(other)]
    Unknown,
}

impl BlockerKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalLock => "localLock",
            Self::Window => "window",
            Self::Deferred => "deferred",
            Self::Approval => "approval",
            Self::RolloutSlot => "rolloutSlot",
            Self::DiskSpace => "diskSpace",
            Self::HostUpdate => "hostUpdate",
            Self::SupervisorUnavailable => "supervisorUnavailable",
            Self::PullFailing => "pullFailing",
            Self::DiskFull => "diskFull",
            Self::StartFailing => "startFailing",
            Self::SupervisorBackoff => "supervisorBackoff",
            Self::RetryBackoff => "retryBackoff",
            Self::RollbackImpossible => "rollbackImpossible",
            Self::StateNotWritable => "stateNotWritable",
            Self::CloneSuspected => "cloneSuspected",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_shown_as_it_is_on_the_wire() {
        for kind in [
            BlockerKind::LocalLock,
            BlockerKind::Window,
            BlockerKind::Deferred,
            BlockerKind::Approval,
            BlockerKind::RolloutSlot,
            BlockerKind::DiskSpace,
            BlockerKind::HostUpdate,
            BlockerKind::SupervisorUnavailable,
            BlockerKind::PullFailing,
            BlockerKind::DiskFull,
            BlockerKind::StartFailing,
            BlockerKind::SupervisorBackoff,
            BlockerKind::RetryBackoff,
            BlockerKind::RollbackImpossible,
            BlockerKind::StateNotWritable,
            BlockerKind::CloneSuspected,
            BlockerKind::Unknown,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
