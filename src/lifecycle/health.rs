//! Health issues: what is not as it should be, and since when.

use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::Timestamp;
use baseos_interfaces::status::{HealthIssue, HealthState, HealthStatus};
use std::collections::BTreeMap;

/// The issues that hold now. A new run begins its own count of since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issues(BTreeMap<&'static str, (Timestamp, Option<String>)>);

impl Issues {
    /// As reported, oldest first.
    pub fn status(&self) -> HealthStatus {
        let mut issues: Vec<_> = self
            .0
            .iter()
            .map(|(code, (since, detail))| HealthIssue {
                code: (*code).to_owned(),
                since: *since,
                detail: detail.clone(),
            })
            .collect();
        issues.sort_by(|a, b| (a.since, &a.code).cmp(&(b.since, &b.code)));
        let state = if issues.is_empty() {
            HealthState::Ok
        } else {
            HealthState::Degraded
        };
        HealthStatus { state, issues }
    }

    /// Whether an issue holds.
    pub fn has(&self, code: &str) -> bool {
        self.0.contains_key(code)
    }
}

impl Lifecycle {
    /// Looks at everything that can be wrong. `at_rest`: no update is under way, so services should all run.
    pub(super) fn check_health(&mut self, at_rest: bool, now: Stamp) {
        let mut found = BTreeMap::new();
        let mut issue = |code: &'static str, detail: Option<String>| {
            found.insert(code, detail);
        };
        if let Some(view) = self.view() {
            if !view.managed {
                issue("supervisorApiExposed", None);
            }
            if at_rest && let Some(stopped) = self.stopped_services() {
                issue("serviceStopped", Some(stopped));
            }
            let posted = self.book.target.posted();
            if at_rest
                && !view.managed
                && let (Some(posted), Some(running)) = (posted, view.release.as_deref())
                && posted != running
            {
                issue(
                    "foreignTarget",
                    Some(format!("{running} runs, which this agent did not hand over")),
                );
            }
        }
        if let Some(off) = self.beats.skew_seconds(now) {
            // Rounded, so that a drifting clock does not change the status with every heartbeat.
            let minutes = off.unsigned_abs() / 60;
            let side = if off > 0 { "ahead" } else { "behind" };
            issue(
                "clockSkew",
                Some(format!("the device's clock is {minutes} min {side}")),
            );
        }
        if let Some(problem) = &self.state_problem {
            issue("stateNotWritable", Some(problem.clone()));
        }
        if let Some(problem) = self.lock_files.problem() {
            issue("lockFilesNotHeld", Some(problem.to_owned()));
        }
        if self
            .host
            .free_bytes
            .is_some_and(|free| free < self.run.reserve_bytes)
        {
            issue("diskLow", None);
        }
        if self.beats.clone_suspected {
            issue("cloneSuspected", None);
        }
        if found.len() == self.issues.0.len()
            && found
                .iter()
                .zip(&self.issues.0)
                .all(|(new, old)| *new.0 == *old.0 && *new.1 == old.1.1)
        {
            return;
        }
        let before = std::mem::take(&mut self.issues.0);
        let since = |code| before.get(code).map_or(now.wall, |(since, _)| *since);
        self.issues.0 = found
            .into_iter()
            .map(|(code, detail)| (code, (since(code), detail)))
            .collect();
    }

    /// Services of the release that runs which have no running container. The Supervisor does not heal: a
    /// container stopped by hand stays stopped while it says `applied` (observed).
    fn stopped_services(&self) -> Option<String> {
        let view = self.view()?;
        let good = self
            .book
            .good
            .as_ref()
            .filter(|good| view.release.as_ref() == Some(&good.commit))?;
        let running = |service: &str| {
            view.containers
                .iter()
                .any(|container| container.service == service && container.is_running())
        };
        let stopped: Vec<_> = good
            .services
            .keys()
            .filter(|service| !running(service))
            .map(String::as_str)
            .collect();
        (!stopped.is_empty()).then(|| stopped.join(", "))
    }
}
