//! A move of the machine from one state to another; each is one line in the log.

use baseos_interfaces::states::AgentState;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub from: AgentState,
    pub to: AgentState,
    /// The event or signal that caused it.
    pub cause: String,
    /// The state or superstate that decided.
    pub by: String,
    /// The attempt the update is in, after the move.
    pub attempt: Option<u32>,
    /// The commit the update goes to, after the move.
    pub target: Option<String>,
}
