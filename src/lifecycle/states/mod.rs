//! The states, one file each; `tables` wires them.
//!
//! ```text
//! root
//! ├─ Unenrolled
//! ├─ Registering
//! └─ enrolled
//!    ├─ Idle
//!    ├─ updating
//!    │  ├─ Staging
//!    │  ├─ Waiting
//!    │  ├─ Applying
//!    │  └─ Verifying
//!    ├─ Failed
//!    └─ RollbackNeeded
//! ```

pub(crate) mod applying;
mod displaced;
pub(crate) mod enrolled;
pub(crate) mod failed;
pub(crate) mod idle;
pub(crate) mod registering;
pub(crate) mod rollback_needed;
pub(crate) mod root;
pub(crate) mod staging;
mod tables;
pub(crate) mod unenrolled;
pub(crate) mod updating;
pub(crate) mod verifying;
pub(crate) mod waiting;

use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Reboot;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::gate;
use crate::lifecycle::update::record::Update;
use baseos_interfaces::states::AgentState;
use serde::{Deserialize, Serialize};

/// The leaf states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    Unenrolled(unenrolled::Unenrolled),
    Registering(registering::Registering),
    Idle(idle::Idle),
    Staging(staging::Staging),
    Waiting(waiting::Waiting),
    Applying(applying::Applying),
    Verifying(verifying::Verifying),
    Failed(failed::Failed),
    RollbackNeeded(rollback_needed::RollbackNeeded),
}

/// The superstates; a leaf's update is lent to the superstate above it.
#[derive(Debug)]
pub(crate) enum Superstate<'a> {
    Root,
    /// There is a node token.
    Enrolled,
    /// An update is under way.
    Updating(&'a mut Update),
}

impl Default for State {
    fn default() -> Self {
        Self::Unenrolled(unenrolled::Unenrolled::default())
    }
}

impl State {
    /// Its name on the wire and in logs.
    pub(crate) fn name(&self) -> AgentState {
        match self {
            Self::Unenrolled(_) => AgentState::Unenrolled,
            Self::Registering(_) => AgentState::Registering,
            Self::Idle(_) => AgentState::Idle,
            Self::Staging(_) => AgentState::Staging,
            Self::Waiting(_) => AgentState::Waiting,
            Self::Applying(_) => AgentState::Applying,
            Self::Verifying(_) => AgentState::Verifying,
            Self::Failed(_) => AgentState::Failed,
            Self::RollbackNeeded(_) => AgentState::RollbackNeeded,
        }
    }

    /// The update under way.
    pub(crate) fn update(&self) -> Option<&Update> {
        match self {
            Self::Staging(state) => Some(&state.update),
            Self::Waiting(state) => Some(&state.update),
            Self::Applying(state) => Some(&state.update),
            Self::Verifying(state) => Some(&state.update),
            Self::RollbackNeeded(state) => Some(&state.update),
            Self::Unenrolled(_) | Self::Registering(_) | Self::Idle(_) | Self::Failed(_) => None,
        }
    }

    /// The rollout the present or last update belongs to.
    pub(crate) fn rollout(&self) -> Option<String> {
        let last = match self {
            Self::Idle(idle) => idle.last.as_ref(),
            Self::Failed(failed) => Some(&failed.last),
            _ => None,
        };
        self.update()
            .and_then(|update| update.rollout.clone())
            .or_else(|| last?.rollout.clone())
    }

    /// Whether there is a node token.
    pub(crate) fn is_enrolled(&self) -> bool {
        !matches!(self, Self::Unenrolled(_) | Self::Registering(_))
    }

    /// Whether new locks are granted.
    pub(crate) fn grants(&self, l: &Shared) -> Grants {
        match self {
            Self::Applying(applying) if applying.may_be_held_back(l) => Grants::IfHeld,
            _ if self.changes_services() => Grants::Not,
            _ => Grants::Freely,
        }
    }

    /// Whether services are being changed, or are about to be as soon as the locks end.
    pub(crate) fn changes_services(&self) -> bool {
        match self {
            Self::Waiting(waiting) => gate::only_locks(waiting.update.blocked()),
            Self::Applying(_) | Self::Verifying(_) => true,
            Self::RollbackNeeded(bad) => bad.is_restoring(),
            Self::Unenrolled(_)
            | Self::Registering(_)
            | Self::Idle(_)
            | Self::Staging(_)
            | Self::Failed(_) => false,
        }
    }

    /// Whether the release that proved itself is to run undisturbed.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self {
            Self::Idle(_) | Self::Waiting(_) => true,
            Self::Failed(failed) => !failed.waits_for_image(),
            Self::RollbackNeeded(bad) => !bad.is_restoring(),
            Self::Unenrolled(_)
            | Self::Registering(_)
            | Self::Staging(_)
            | Self::Applying(_)
            | Self::Verifying(_) => false,
        }
    }

    /// Whether services are being changed or watched, so that the Supervisor is looked at often.
    pub(crate) fn is_moving(&self) -> bool {
        match self {
            Self::Staging(staging) => staging.update.blocked().is_empty(),
            Self::Applying(_) | Self::Verifying(_) => true,
            Self::RollbackNeeded(bad) => bad.is_restoring(),
            Self::Unenrolled(_)
            | Self::Registering(_)
            | Self::Idle(_)
            | Self::Waiting(_)
            | Self::Failed(_) => false,
        }
    }

    /// The timers that belong to this state alone: leaving it disarms them.
    pub(crate) fn timers(&self) -> &'static [Timer] {
        match self {
            Self::Unenrolled(_) | Self::Idle(_) | Self::Failed(_) => &[],
            Self::Registering(_) => &[Timer::Register],
            Self::Staging(_) => &[Timer::Retry],
            Self::Waiting(_) => &[Timer::Recheck],
            Self::Applying(_) => &[Timer::Retry, Timer::Deadline],
            Self::Verifying(_) | Self::RollbackNeeded(_) => &[Timer::Retry, Timer::Deadline, Timer::Health],
        }
    }

    /// The device has rebooted since the checkpoint was written.
    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        let update = match self {
            Self::Registering(state) => return state.carry_over(reboot),
            Self::Staging(state) => &mut state.update,
            Self::Waiting(state) => &mut state.update,
            Self::Applying(state) => &mut state.update,
            Self::Verifying(state) => &mut state.update,
            Self::RollbackNeeded(state) => &mut state.update,
            Self::Unenrolled(_) | Self::Idle(_) | Self::Failed(_) => return,
        };
        update.carry_over(reboot);
    }
}

impl Superstate<'_> {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Enrolled => "enrolled",
            Self::Updating(_) => "updating",
        }
    }

    /// The timers that belong to this superstate: they outlive a move between its states.
    pub(crate) fn timers(&self) -> &'static [Timer] {
        match self {
            Self::Root => &[Timer::Lease, Timer::Goodbye],
            Self::Enrolled => &[Timer::Heartbeat, Timer::Watch, Timer::Heal],
            Self::Updating(_) => &[],
        }
    }
}
