//! What happened to releases on this node, by commit: attempts that were begun, and releases known to be bad here,
//! which are never tried again without an operator's later order.

use crate::lifecycle::update::record::UpdateError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Releases that are remembered; the one that was looked at longest ago is forgotten first.
const REMEMBERED: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReleaseMemory {
    releases: BTreeMap<String, Memory>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// Attempts begun.
    attempts: u32,
    known_bad: Option<UpdateError>,
    /// The desired revision at which it was found bad; only a later one can order another try.
    revision: u64,
    /// Rises with every use, for forgetting.
    order: u64,
}

impl ReleaseMemory {
    /// Why a release is known to be bad here.
    pub(crate) fn known_bad(&self, commit: &str) -> Option<&UpdateError> {
        self.releases.get(commit)?.known_bad.as_ref()
    }

    /// Whether a release was found bad at an earlier desired revision than this one.
    pub(crate) fn was_bad_before(&self, commit: &str, revision: u64) -> bool {
        self.releases
            .get(commit)
            .is_some_and(|memory| memory.known_bad.is_some() && revision > memory.revision)
    }

    pub(crate) fn attempts(&self, commit: &str) -> u32 {
        self.releases.get(commit).map_or(0, |memory| memory.attempts)
    }

    pub(crate) fn set_attempts(&mut self, commit: &str, attempts: u32) {
        self.remember(commit).attempts = attempts;
    }

    pub(crate) fn declare_bad(&mut self, commit: &str, error: &UpdateError, revision: u64) {
        let memory = self.remember(commit);
        memory.known_bad = Some(error.clone());
        memory.revision = revision;
    }

    pub(crate) fn forget(&mut self, commit: &str) {
        self.releases.remove(commit);
    }

    /// Revisions begin anew (another identity, or an operator's reset): any from now on is later than what was found
    /// out about releases before.
    pub(crate) fn restart_revisions(&mut self) {
        for memory in self.releases.values_mut() {
            memory.revision = 0;
        }
    }

    fn remember(&mut self, commit: &str) -> &mut Memory {
        let order = self
            .releases
            .values()
            .map(|memory| memory.order)
            .max()
            .unwrap_or(0)
            + 1;
        if !self.releases.contains_key(commit) && self.releases.len() >= REMEMBERED {
            let oldest = self.releases.iter().min_by_key(|(_, memory)| memory.order);
            if let Some(oldest) = oldest.map(|(commit, _)| commit.clone()) {
                self.releases.remove(&oldest);
            }
        }
        let memory = self.releases.entry(commit.to_owned()).or_default();
        memory.order = order;
        memory
    }
}
