//! The sessions in memory, so that the usual heartbeat asks no database.
//!
//! They say what the database says. Whoever changes something that a session holds names it ([`Touched`]); the sessions
//! that hold it are forgotten after the commit and before its answer leaves. What is being read meanwhile may be of the
//! time before the commit, so it is used and not kept.

use super::node_session::NodeSession;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nodes share the note of when they were last changed: a session is kept a little less often than it could be.
const SLOTS: usize = 1024;

/// What a transaction changes of what sessions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    Nothing,
    /// A node, its tokens, status, commands or target.
    Node(String),
    /// The same of these nodes.
    Nodes(BTreeSet<String>),
    All,
}

#[derive(Default)]
pub(super) struct SessionCache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By token.
    sessions: HashMap<String, Arc<NodeSession>>,
    /// The tokens of `sessions` by node: two at most, and those of its replacements.
    tokens: HashMap<String, Vec<String>>,
    changes: Changes,
}

/// When something was last changed. Time is counted in changes.
struct Changes {
    now: u64,
    all: u64,
    nodes: Box<[u64]>,
    hasher: RandomState,
}

/// What is in memory.
pub(super) enum Lookup {
    Kept(Arc<NodeSession>),
    /// It is to be read.
    Missing(Reading),
}

/// When the reading of a session began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading(u64);

impl SessionCache {
    pub(super) fn look_up(&self, token: &str) -> Lookup {
        let inner = self.lock();
        match inner.sessions.get(token) {
            Some(session) => Lookup::Kept(Arc::clone(session)),
            None => Lookup::Missing(Reading(inner.changes.now)),
        }
    }

    /// Keeps a session that was read, unless its node was changed since.
    pub(super) fn keep(&self, reading: Reading, session: NodeSession) -> Arc<NodeSession> {
        let session = Arc::new(session);
        let mut inner = self.lock();
        if !inner.changes.since(reading, &session.node_id) {
            let token = session.token_id.clone();
            let tokens = inner.tokens.entry(session.node_id.clone()).or_default();
            if !tokens.contains(&token) {
                tokens.push(token.clone());
            }
            inner.sessions.insert(token, Arc::clone(&session));
        }
        session
    }

    /// Forgets what was changed.
    pub(super) fn forget(&self, touched: &Touched) {
        let mut inner = self.lock();
        match touched {
            Touched::Nothing => {}
            Touched::Node(node) => inner.forget(node),
            Touched::Nodes(nodes) => nodes.iter().for_each(|node| inner.forget(node)),
            Touched::All => {
                inner.changes.note_all();
                inner.sessions.clear();
                inner.tokens.clear();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, node: &str) {
        self.changes.note(node);
        for token in self.tokens.remove(node).unwrap_or_default() {
            self.sessions.remove(&token);
        }
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            now: 0,
            all: 0,
            nodes: vec![0; SLOTS].into(),
            hasher: RandomState::default(),
        }
    }
}

impl Changes {
    fn since(&self, reading: Reading, node: &str) -> bool {
        reading.0 < self.all || reading.0 < self.nodes[self.slot(node)]
    }

    fn note(&mut self, node: &str) {
        self.now += 1;
        let slot = self.slot(node);
        self.nodes[slot] = self.now;
    }

    fn note_all(&mut self) {
        self.now += 1;
        self.all = self.now;
    }

    fn slot(&self, node: &str) -> usize {
        // Below SLOTS, so it fits.
        (self.hasher.hash_one(node) % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests;
