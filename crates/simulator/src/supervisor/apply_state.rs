//! The state of the apply loop.

use crate::supervisor::container::ImageRow;
use crate::supervisor::target::{App, Service};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the apply loop is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Nothing: `appState` is `applied`.
    #[default]
    Idle,
    Planning,
    Pulling,
    Stopping,
    Starting,
    /// Stores the commit.
    Settling,
    /// Waits after a failure.
    Backoff,
}

/// Lost when the Supervisor's process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apply {
    pub(crate) step: Step,
    /// Taken when the apply begins; the force of a later post has no effect (u05-force).
    pub(crate) force: bool,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// `update_failed` of /v1/device.
    pub(crate) failed: bool,
    /// `update_downloaded` of /v1/device.
    pub(crate) downloaded: bool,
    /// Done except for `appState`: `update_pending` turns first (u05-poll-good-after-bad, at 9.01).
    pub(crate) reported: bool,
    /// The target version that this plan was made for.
    pub(crate) planned_version: u64,
    pub(crate) pulls: Vec<ImagePull>,
    /// Managed: rows of images that are being deleted.
    pub(crate) deleting: Vec<ImageRow>,
    pub(crate) starting: Vec<(App, Service)>,
    pub(crate) locked_apps: BTreeSet<u64>,
}

/// An image that is being fetched.
#[derive(Clone, Debug)]
pub(crate) struct ImagePull {
    pub(crate) row: ImageRow,
    pub(crate) began: Duration,
    pub(crate) takes: Duration,
    pub(crate) error: Option<String>,
    /// Too early after a failure: nothing is pulled, and the log does not say so.
    pub(crate) paused: bool,
    pub(crate) done: bool,
}

impl ImagePull {
    pub(crate) fn percent(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.began).as_millis();
        let percent = (elapsed * 100).checked_div(self.takes.as_millis()).unwrap_or(0);
        u64::try_from(percent.min(99)).unwrap_or(99)
    }
}
