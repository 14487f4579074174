//! Why an update is not going on, and since when.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// One reason why an update is not going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// What kind of reason.
    pub kind: BlockerKind,
    /// Who, where somebody holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when, device's clock.
    pub since: Timestamp,
    /// Until when at the latest, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Blocker {
    /// Since when the same reason has held, if it is among `before`. It is the same when its kind is and its holder
    /// is; where only one of the two names a holder (a Supervisor's 423 does not), the kind alone decides.
    pub fn since_before(before: &[Self], kind: BlockerKind, holder: Option<&str>) -> Option<Timestamp> {
        let same_kind = || before.iter().filter(|blocker| blocker.kind == kind);
        same_kind()
            .find(|blocker| blocker.holder.as_deref() == holder)
            .or_else(|| same_kind().find(|blocker| blocker.holder.is_none() || holder.is_none()))
            .map(|blocker| blocker.since)
    }

    /// This reason with its beginning, when it is among `before`: an operator sees for how long it has held, not when
    /// it was last looked at.
    #[must_use]
    pub fn keep_since(mut self, before: &[Self]) -> Self {
        if let Some(since) = Self::since_before(before, self.kind, self.holder.as_deref()) {
            self.since = since;
        }
        self
    }
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
    /// An attempt failed; the next one is due later.
    RetryBackoff,
    /// The state cannot be saved, so nothing may be begun.
    StateNotWritable,
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
            Self::RetryBackoff => "retryBackoff",
            Self::StateNotWritable => "stateNotWritable",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(holder: Option<&str>, since: i64) -> Blocker {
        Blocker {
            kind: BlockerKind::LocalLock,
            holder: holder.map(str::to_owned),
            reason: Some("busy".into()),
            since: Timestamp::from_second(since).unwrap(),
            expires_at: None,
        }
    }

    #[test]
    fn the_same_reason_keeps_its_beginning() {
        let before = [lock(Some("onebox"), 10), lock(Some("backup"), 20)];
        assert_eq!(
            lock(Some("backup"), 99).keep_since(&before),
            lock(Some("backup"), 20)
        );
    }

    #[test]
    fn another_holder_or_kind_begins_anew() {
        let before = [lock(Some("onebox"), 10)];
        assert_eq!(
            lock(Some("backup"), 99).keep_since(&before),
            lock(Some("backup"), 99)
        );
        assert_eq!(
            Blocker::since_before(&before, BlockerKind::Window, Some("onebox")),
            None
        );
        assert_eq!(lock(None, 99).keep_since(&[]), lock(None, 99));
    }

    #[test]
    fn a_holder_that_becomes_known_or_unknown_is_the_same_reason() {
        assert_eq!(
            lock(Some("/lock"), 99).keep_since(&[lock(None, 10)]),
            lock(Some("/lock"), 10)
        );
        assert_eq!(
            lock(None, 99).keep_since(&[lock(Some("/lock"), 10)]),
            lock(None, 10)
        );
        let before = [lock(None, 10), lock(Some("/lock"), 20)];
        assert_eq!(
            lock(Some("/lock"), 99).keep_since(&before),
            lock(Some("/lock"), 20)
        );
    }
}
