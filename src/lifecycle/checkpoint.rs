//! The checkpoint: the versioned record that survives a restart.

use crate::lifecycle::book::Book;
use crate::lifecycle::states::State;
use crate::lifecycle::time::Millis;
use serde::{Deserialize, Serialize};

/// The version this agent writes. Fields may be added within a version; a change of meaning is a new one.
pub const VERSION: u32 = 1;

/// Book and state, as written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`VERSION`].
    pub version: u32,
    /// What the boot-time clock said when it was made.
    pub saved: Millis,
    /// The leaf state.
    pub state: State,
    /// Everything else.
    pub book: Book,
}

/// A checkpoint this agent cannot use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Written by a newer agent.
    #[error(
        "the checkpoint has version {found}, this agent knows {VERSION}: start the newer agent that wrote it"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Not a checkpoint.
    #[error("the checkpoint does not read: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            version: VERSION,
            saved: Millis(0),
            state: State::default(),
            book: Book::default(),
        }
    }
}

/// Reads a checkpoint of any version up to this one.
///
/// # Errors
/// A newer version, or something that is no checkpoint.
pub fn migrate(value: serde_json::Value) -> Result<Checkpoint, CheckpointError> {
    let found = value
        .get("version")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    if found > u64::from(VERSION) {
        return Err(CheckpointError::Newer {
            found: u32::try_from(found).unwrap_or(u32::MAX),
        });
    }
    // Version 1 is the first; an older one is upgraded here, step by step, before it is read.
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_a_newer_agent_is_refused_and_not_half_read() {
        let error = migrate(serde_json::json!({"version": 2})).unwrap_err();
        assert!(matches!(error, CheckpointError::Newer { found: 2 }), "{error}");
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let written = serde_json::to_value(Checkpoint::default()).unwrap();
        assert_eq!(migrate(written).unwrap(), Checkpoint::default());
    }
}
