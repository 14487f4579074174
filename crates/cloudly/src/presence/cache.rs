//! The presence of all nodes, in memory. It changes with every heartbeat, so it is written to the database in batches.

use super::judge::{Presence, judge};
use super::runs::Sequence;
use crate::clock::after;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::heartbeat::Heartbeat;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct PresenceCache {
    heard: Mutex<HashMap<String, Entry>>,
    /// When a heartbeat was refused last since its node is not active. Not stored.
    refused: Mutex<HashMap<String, Timestamp>>,
}

struct Entry {
    presence: Presence,
    /// Differs from the database.
    dirty: bool,
}

impl PresenceCache {
    pub(crate) fn new(stored: Vec<(String, Presence)>) -> Self {
        let clean = |presence| Entry {
            presence,
            dirty: false,
        };
        let entries = stored.into_iter().map(|(node, presence)| (node, clean(presence)));
        Self {
            heard: Mutex::new(entries.collect()),
            refused: Mutex::default(),
        }
    }

    /// `None`: the node has never been heard from.
    pub(crate) fn get(&self, node: &str) -> Option<Presence> {
        self.lock().get(node).map(|entry| entry.presence.clone())
    }

    /// A heartbeat of a node that is not active was refused.
    pub(crate) fn note_refused(&self, node: &str, now: Timestamp) {
        self.refusals().insert(node.to_owned(), now);
    }

    /// When that was last; `None`: not since this Cloudly's start.
    pub(crate) fn refused_at(&self, node: &str) -> Option<Timestamp> {
        self.refusals().get(node).copied()
    }

    /// The presence of every node that was heard from, in no order.
    pub(crate) fn states(&self, now: Timestamp, started_at: Timestamp) -> Vec<PresenceState> {
        let entries = self.lock();
        let states = entries
            .values()
            .map(|entry| judge(&entry.presence, now, started_at));
        states.collect()
    }

    /// Takes in a heartbeat. Its answer says when the next one is due: [`Self::set_next_due`].
    pub(crate) fn receive(&self, node: &str, heartbeat: &Heartbeat, now: Timestamp) -> Sequence {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(node) {
            entry.dirty = true;
            return entry.presence.update(heartbeat, now);
        }
        let presence = Presence::first(heartbeat, now);
        let entry = Entry {
            presence,
            dirty: true,
        };
        entries.insert(node.to_owned(), entry);
        Sequence::Gap
    }

    pub(crate) fn set_next_due(&self, node: &str, interval_seconds: u32, now: Timestamp) {
        if let Some(entry) = self.lock().get_mut(node) {
            entry.presence.interval_seconds = interval_seconds;
            entry.presence.next_due_at = after(now, interval_seconds.into());
            entry.dirty = true;
        }
    }

    /// Forgets what spoke for a second agent, so that the node is not taken for a clone any more.
    pub(crate) fn forget_runs(&self, node: &str) {
        if let Some(entry) = self.lock().get_mut(node) {
            entry.presence.runs.forget();
            entry.dirty = true;
        }
    }

    /// The highest revision that this node, or any node, says it has seen; what is above `believable` does not count.
    pub(crate) fn highest_observed(&self, node: Option<&str>, believable: u64) -> u64 {
        let entries = self.lock();
        let observed = |entry: &Entry| Some(entry.presence.observed).filter(|seen| *seen <= believable);
        let highest = match node {
            Some(node) => entries.get(node).and_then(observed),
            None => entries.values().filter_map(observed).max(),
        };
        highest.unwrap_or(0)
    }

    /// What has changed since the last call, by the nodes' ids.
    pub(crate) fn take_dirty(&self) -> Vec<(String, Presence)> {
        let mut entries = self.lock();
        let dirty = entries
            .iter_mut()
            .filter_map(|(node, entry)| std::mem::take(&mut entry.dirty).then_some((node, &entry.presence)));
        let mut dirty: Vec<_> = dirty
            .map(|(node, presence)| (node.clone(), presence.clone()))
            .collect();
        dirty.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        dirty
    }

    /// Forgets nodes that are no more.
    pub(crate) fn forget<'a>(&self, nodes: impl IntoIterator<Item = &'a String>) {
        let (mut entries, mut refused) = (self.lock(), self.refusals());
        for node in nodes {
            entries.remove(node);
            refused.remove(node);
        }
    }

    /// Marks what could not be written, so that the next flush tries again.
    pub(crate) fn mark_dirty(&self, unwritten: &[(String, Presence)]) {
        let mut entries = self.lock();
        for (node, _) in unwritten {
            if let Some(entry) = entries.get_mut(node) {
                entry.dirty = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
