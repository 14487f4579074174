//! What is desired of a node, and how soon it should be heard from again.

use crate::settings::Settings;
use crate::storage::desired::{ALL, Setting};
use crate::storage::nodes::Bearer;
use crate::storage::{self, Connection};
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::{Desired, DesiredApp};
use baseos_interfaces::states::UpdateState;

/// The revision a node is meant to work on. `floor` keeps it from falling when the node loses its own setting.
pub(crate) fn revision(setting: Option<&Setting>, floor: u64) -> u64 {
    setting.map_or(0, |setting| setting.revision).max(floor)
}

/// Whether this is a node's own setting.
pub(crate) fn is_own(setting: &Setting) -> bool {
    setting.scope != ALL
}

/// The document a node gets.
pub(crate) async fn document(
    c: &mut Connection,
    setting: Option<Setting>,
    revision: u64,
    now: Timestamp,
) -> storage::Result<Desired> {
    let mut desired = Desired {
        revision,
        issued_at: now,
        reset: false,
        app: None,
        host_os: None,
    };
    let Some(setting) = setting else {
        return Ok(desired);
    };
    desired.issued_at = setting.set_at;
    if let Some(commit) = &setting.commit
        && let Some(record) = storage::desired::release(c, commit).await?
    {
        let release = record.release;
        desired.app = Some(DesiredApp {
            release,
            rollout_id: None,
            slot: None,
            policy: setting.policy,
        });
    }
    Ok(desired)
}

/// The state of a node's update as far as the pace depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    pub(crate) state: UpdateState,
    pub(crate) target: Option<&'a str>,
    pub(crate) running: Option<&'a str>,
}

impl<'a> Progress<'a> {
    /// As it was last reported.
    pub(crate) fn stored(bearer: &'a Bearer) -> Self {
        Self {
            state: bearer.update_state,
            target: bearer.target_commit.as_deref(),
            running: bearer.running_commit.as_deref(),
        }
    }
}

/// The heartbeat interval, seconds: short while something is about to happen. A node that waits (a window may be
/// days away) or has given up tells of a change by itself.
pub(crate) fn interval(settings: &Settings, wanted: Option<&str>, progress: Progress<'_>) -> u32 {
    use UpdateState::{
        Applying, Cancelled, Failed, Idle, Rebooting, RollbackNeeded, RolledBack, Staged, Succeeded,
        Superseded, Unknown, Verifying, Waiting,
    };
    let active = match progress.state {
        Staged | Applying | Rebooting | Verifying | RollbackNeeded => true,
        Waiting | Failed | RolledBack => wanted.is_some() && wanted != progress.target,
        Idle | Succeeded | Cancelled | Superseded | Unknown => wanted.is_some() && wanted != progress.running,
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

    fn pace(state: UpdateState, target: Option<&str>, running: Option<&str>) -> u32 {
        interval(
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
    fn the_pace_is_short_while_an_update_is_about_to_happen_and_long_otherwise() {
        assert_eq!(pace(UpdateState::Idle, None, Some("old")), 15);
        assert_eq!(pace(UpdateState::Applying, Some("new"), Some("old")), 15);
        assert_eq!(pace(UpdateState::Succeeded, Some("new"), Some("new")), 60);
        assert_eq!(pace(UpdateState::Waiting, Some("new"), Some("old")), 60);
        assert_eq!(pace(UpdateState::Failed, Some("new"), Some("old")), 60);
        assert_eq!(pace(UpdateState::Failed, Some("older"), Some("old")), 15);
    }
}
