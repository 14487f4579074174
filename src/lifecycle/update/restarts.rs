//! Starts of the agent in the middle of one step. A process that ends there each time would never hear Cloudly, and so
//! never get the release or the order that helps: after some starts it waits before it goes on with the step.

use crate::lifecycle::backoff;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::record::Blocker;
use baseos_interfaces::status::BlockerKind;
use serde::{Deserialize, Serialize};

/// Starts within one step after which it is not gone on with at once.
const MAX: u32 = 3;

/// How often the agent has started within a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Restarts {
    count: u32,
    /// This process began the step or has counted itself.
    #[serde(skip)]
    counted: Unsaved<bool>,
}

/// A wait before a step is gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) until: Millis,
    /// For the update's `blockedBy`.
    pub(crate) blocker: Blocker,
}

impl Restarts {
    /// A step that this process begins.
    pub(crate) fn none() -> Self {
        Self {
            count: 0,
            counted: Unsaved(true),
        }
    }

    /// The step is entered. `what` completes "the agent ended 3 times while …".
    pub(crate) fn enter(&mut self, what: &str, now: Stamp) -> Option<Pause> {
        if std::mem::replace(&mut *self.counted, true) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        let too_many = self.count.checked_sub(MAX)?;
        let until = now.boot + backoff::ATTEMPT.delay(too_many, now.entropy);
        let blocker = Blocker::new(BlockerKind::RetryBackoff, now.wall)
            .because(format!("the agent ended {} times while {what}", self.count))
            .until(now.wall_at(until));
        Some(Pause { until, blocker })
    }

    /// The step has come to an answer: this process survived it.
    pub(crate) fn survived(&mut self) {
        self.count = 0;
    }
}
