//! Reads checkpoints of earlier versions: each is upgraded step by step to the present one.

mod version_1;

use crate::lifecycle::checkpoint::{Checkpoint, CheckpointError, VERSION};
use serde_json::Value;

/// Reads a checkpoint of any version up to this one.
///
/// # Errors
/// A newer version, or something that is no checkpoint.
pub fn migrate(mut value: Value) -> Result<Checkpoint, CheckpointError> {
    let found = value.get("version").and_then(Value::as_u64).unwrap_or(0);
    if found > u64::from(VERSION) {
        return Err(CheckpointError::Newer {
            found: u32::try_from(found).unwrap_or(u32::MAX),
        });
    }
    if found == 1 {
        version_1::upgrade(&mut value);
    }
    // Read as text, as events and answers are: another source would double the size of the code that reads these types.
    Ok(serde_json::from_slice(&serde_json::to_vec(&value)?)?)
}
