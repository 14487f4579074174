//! How soon a node should be heard from again.

use crate::settings::Settings;
use crate::storage::node_session::NodeSession;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::NodeStatus;

/// What the interval depends on in a node's status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress<'a> {
    state: UpdateState,
    target: Option<&'a str>,
    running: Option<&'a str>,
}

impl<'a> Progress<'a> {
    pub(super) fn reported(status: &'a NodeStatus) -> Self {
        Self {
            state: status.update.state,
            target: status.update.target.as_deref(),
            running: status.running(),
        }
    }

    /// As it was last reported.
    pub(super) fn stored(session: &'a NodeSession) -> Self {
        Self {
            state: session.update_state,
            target: session.target_commit.as_deref(),
            running: session.running_commit.as_deref(),
        }
    }
}

/// The heartbeat interval, seconds: short while an update is about to happen or under way. A node that waits (its
/// window may be days away) or has given up reports a change without being asked.
pub(super) fn seconds(settings: &Settings, desired: Option<&str>, progress: Progress<'_>) -> u32 {
    use UpdateState::{
        Applying, Cancelled, Failed, Idle, Rebooting, RollbackNeeded, RolledBack, Staged, Succeeded,
        Superseded, Unknown, Verifying, Waiting,
    };
    let active = match progress.state {
        Staged | Applying | Rebooting | Verifying | RollbackNeeded => true,
        Waiting | Failed | RolledBack => desired.is_some() && desired != progress.target,
        Idle | Succeeded | Cancelled | Superseded | Unknown => {
            desired.is_some() && desired != progress.running
        }
    };
    if active {
        settings.active_heartbeat_seconds.min(settings.heartbeat_seconds)
    } else {
        settings.heartbeat_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(state: UpdateState, target: Option<&str>, running: Option<&str>) -> u32 {
        seconds(
            &Settings::new("x"),
            Some("new"),
            Progress {
                state,
                target,
                running,
            },
        )
    }

    #[test]
    fn the_interval_is_short_while_an_update_is_about_to_happen_and_long_otherwise() {
        assert_eq!(interval(UpdateState::Idle, None, Some("old")), 15);
        assert_eq!(interval(UpdateState::Applying, Some("new"), Some("old")), 15);
        assert_eq!(interval(UpdateState::Succeeded, Some("new"), Some("new")), 60);
        assert_eq!(interval(UpdateState::Waiting, Some("new"), Some("old")), 60);
        assert_eq!(interval(UpdateState::Failed, Some("new"), Some("old")), 60);
        assert_eq!(interval(UpdateState::Failed, Some("older"), Some("old")), 15);
    }
}
