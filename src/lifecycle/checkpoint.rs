//! The checkpoint: the versioned record that survives a restart.

use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::durable::Durable;
use crate::lifecycle::guard::files::Orders;
use crate::lifecycle::guard::orders::orders;
use crate::lifecycle::states::State;
use crate::lifecycle::time::Millis;
use baseos_interfaces::states::AgentState;
use serde::{Deserialize, Serialize};

/// The version this agent writes. Fields may be added within a version; a change of meaning is a new one.
pub const VERSION: u32 = 2;

/// What is written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`VERSION`].
    pub version: u32,
    /// What the boot-time clock said when it was made.
    pub saved: Millis,
    pub(crate) state: State,
    pub(crate) durable: Durable,
}

/// A checkpoint this agent cannot use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint has version {found}, this agent knows {VERSION}")]
    Newer { found: u32 },
    #[error("the checkpoint does not read: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Checkpoint {
    /// The state it was made in.
    pub fn agent_state(&self) -> AgentState {
        self.state.name()
    }

    /// What the guard of the agent's own update is to know; `None`: there is no guard.
    pub fn guard_orders(&self) -> Option<Orders> {
        orders(&self.durable)
    }

    /// Whether an agent of an earlier version may still come back: an update is under way, or its agent is on trial.
    pub fn is_under_trial(&self) -> bool {
        self.state.update().is_some() || self.durable.guard.trial().is_some()
    }

    /// Whether it is enrolled, and as what, as people are told it.
    pub fn identity_in_words(&self) -> String {
        let node = self.durable.node.as_ref();
        node.map_or_else(|| "not enrolled".to_owned(), Node::in_words)
    }

    /// The node's id, or why there is none.
    pub fn node_in_words(&self) -> &str {
        match &self.durable.node {
            Some(node) => node.id.as_deref().unwrap_or("not known"),
            None => "not enrolled",
        }
    }

    /// `node_…`, once enrolled and as far as it is known.
    pub fn node_id(&self) -> Option<&str> {
        self.durable.node.as_ref()?.id.as_deref()
    }
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            version: VERSION,
            saved: Millis(0),
            state: State::default(),
            durable: Durable::default(),
        }
    }
}
