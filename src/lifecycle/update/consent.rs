//! Consent: whether somebody at the device approved the present update or deferred it. What was said about one
//! commit does not count for another.

use crate::lifecycle::time::{Millis, Moment, Reboot, Stamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::local::DeferRequest;
use baseos_interfaces::problem::Problem;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often the clock of an offered update is written to disk: a reboot sets it back by so much at most.
const KEEP_EVERY: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Consent {
    /// The commit it is about.
    commit: String,
    /// Since when this update has been offered.
    offered: Option<Moment>,
    /// For how long it had been offered before this boot, milliseconds.
    offered_before: u64,
    approved: bool,
    deferral: Option<Deferral>,
    /// When this was last written so that its clock goes on after a reboot (boot-time clock).
    kept: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deferral {
    /// Boot-time clock.
    pub(crate) until: Millis,
    /// Device's clock, for people.
    pub(crate) until_wall: Timestamp,
    pub(crate) reason: String,
    /// Device's clock.
    since: Timestamp,
}

impl Consent {
    /// An update to this commit is offered; consent to another one is forgotten.
    pub(crate) fn offer(&mut self, commit: &str, now: Stamp) {
        if self.commit != commit {
            *self = Self {
                commit: commit.to_owned(),
                offered: Some(now.into()),
                ..Self::default()
            };
        }
    }

    /// This commit is what is desired from now on; `None`: nothing is.
    pub(crate) fn forget_unless(&mut self, desired: Option<&str>) {
        if desired != Some(&self.commit) {
            *self = Self::default();
        }
    }

    pub(crate) fn approve(&mut self, commit: &str, now: Stamp) {
        self.offer(commit, now);
        self.approved = true;
        self.deferral = None;
    }

    /// Puts the update to `commit` off. All deferrals of one update together last `longest` at most, from when it
    /// was first offered.
    ///
    /// # Errors
    /// 422 with the seconds that are left when more is asked for.
    pub(crate) fn defer(
        &mut self,
        commit: &str,
        request: &DeferRequest,
        longest: Duration,
        now: Stamp,
    ) -> Result<(), Problem> {
        self.offer(commit, now);
        let allowed = self.deferral_left(longest, now);
        let wanted = Duration::from_secs(request.until_seconds.into());
        if wanted > allowed {
            let title = "the policy does not allow so long a deferral";
            let detail = format!("untilSeconds may be at most {} now", allowed.as_secs());
            return Err(Problem::new(422, ProblemCode::InvalidRequest, title).detail(detail));
        }
        let until = now.boot + wanted;
        self.approved = false;
        self.deferral = Some(Deferral {
            until,
            until_wall: now.wall_at(until).unwrap_or(now.wall),
            reason: request.reason.clone(),
            since: now.wall,
        });
        Ok(())
    }

    fn deferral_left(&self, longest: Duration, now: Stamp) -> Duration {
        longest.saturating_sub(self.offered_for(now.boot))
    }

    /// For how long the update has been offered, over all boots; while the device was off does not count.
    fn offered_for(&self, now: Millis) -> Duration {
        let this_boot = self.offered.map(|offered| now.since(offered.boot));
        Duration::from_millis(self.offered_before) + this_boot.unwrap_or_default()
    }

    /// Whether its clock should be written: a reboot goes on from what was written last.
    pub(crate) fn is_due_to_be_kept(&self, now: Millis) -> bool {
        self.offered.is_some() && now.since(self.kept) >= KEEP_EVERY
    }

    /// Changes the record, so that it is written.
    pub(crate) fn keep(&mut self, now: Millis) {
        self.kept = now;
    }

    /// The deferral of the update to `commit` that holds now.
    pub(crate) fn deferral(&self, commit: &str, now: Millis) -> Option<&Deferral> {
        self.deferral
            .as_ref()
            .filter(|deferral| self.commit == commit && deferral.until > now)
    }

    /// Until when the present update was deferred, whether or not that is over; device's clock.
    pub(crate) fn deferred_until(&self) -> Option<Timestamp> {
        self.deferral.as_ref().map(|deferral| deferral.until_wall)
    }

    pub(crate) fn is_approved(&self, commit: &str) -> bool {
        self.approved && self.commit == commit
    }

    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        self.offered_before = u64::try_from(self.offered_for(reboot.saved).as_millis()).unwrap_or(u64::MAX);
        if let Some(offered) = &mut self.offered {
            offered.boot = reboot.now.boot;
        }
        self.kept = reboot.now.boot;
        if let Some(deferral) = &mut self.deferral {
            deferral.until = reboot.carry(deferral.until);
        }
    }
}

/// The answer to `approve` and `defer` when there is nothing to consent to.
pub(crate) fn nothing_offered() -> Problem {
    Problem::new(409, ProblemCode::Conflict, "no update is waiting")
        .detail("ask again when GET /v1/status shows one")
}
