//! What the Supervisor was asked.

use crate::device::faults::FaultKind;
use serde::{Deserialize, Serialize};

/// One request to the Supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    /// Since the start of the device.
    pub at_millis: u64,
    pub method: String,
    /// Without the query, so without a key.
    pub path: String,
    pub body: String,
    /// The fault that was applied to it.
    pub fault: Option<FaultKind>,
    /// `None`: no answer (yet).
    pub status: Option<u16>,
}

impl LoggedRequest {
    /// Whether the Supervisor handled it, as opposed to a fault that answered instead.
    pub fn reached_the_supervisor(&self) -> bool {
        matches!(
            self.fault,
            None | Some(
                FaultKind::Slow { .. }
                    | FaultKind::WrongContentType
                    | FaultKind::Truncated
                    | FaultKind::DroppedAfter
            )
        )
    }
}
