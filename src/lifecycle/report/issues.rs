//! Health issues that hold now, and since when. A new run begins its own count of since when.

use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::status::{HealthIssue, HealthState, HealthStatus};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Issues(BTreeMap<IssueCode, Issue>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Issue {
    /// Device's clock.
    since: Timestamp,
    detail: Option<String>,
}

/// What a look found: codes and, where the code does not say it all, details.
pub(crate) type Found = BTreeMap<IssueCode, Option<String>>;

impl Issues {
    /// As reported, oldest first.
    pub(crate) fn status(&self) -> HealthStatus {
        let mut issues: Vec<_> = self
            .0
            .iter()
            .map(|(code, issue)| HealthIssue {
                code: code.clone(),
                since: issue.since,
                detail: issue.detail.clone(),
            })
            .collect();
        issues.sort_unstable_by(|a, b| (a.since, &a.code).cmp(&(b.since, &b.code)));
        let state = if issues.is_empty() {
            HealthState::Ok
        } else {
            HealthState::Degraded
        };
        HealthStatus { state, issues }
    }

    pub(crate) fn has(&self, code: &IssueCode) -> bool {
        self.0.contains_key(code)
    }

    /// What an issue says beside its code.
    pub(crate) fn detail(&self, code: &IssueCode) -> Option<&str> {
        self.0.get(code)?.detail.as_deref()
    }

    /// Takes over what was found; what held before keeps its beginning.
    pub(crate) fn refresh(&mut self, found: Found, now: Timestamp) {
        let unchanged = found
            .iter()
            .eq(self.0.iter().map(|(code, issue)| (code, &issue.detail)));
        if unchanged {
            return;
        }
        let before = std::mem::take(&mut self.0);
        let since = |code: &IssueCode| before.get(code).map_or(now, |issue| issue.since);
        self.0 = found
            .into_iter()
            .map(|(code, detail)| {
                let since = since(&code);
                (code, Issue { since, detail })
            })
            .collect_tree();
    }
}
