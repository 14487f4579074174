//! The agent's state file.

use crate::harness::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// Reads `state.json` of a state directory ([`crate::device::Device::volume_dir`] with `baseos`).
///
/// # Errors
/// When it is missing or not JSON.
pub fn read_state(dir: &Path) -> Result<Value> {
    let file = dir.join("state.json");
    let text =
        std::fs::read_to_string(&file).map_err(|error| Error::new(format!("{}: {error}", file.display())))?;
    Ok(serde_json::from_str(&text)?)
}

/// The id of the node that the agent in this state directory is.
///
/// # Errors
/// When there is no state file, or no node in its checkpoint.
pub fn stored_node_id(dir: &Path) -> Result<String> {
    let state = read_state(dir)?;
    node_id(&state["checkpoint"])
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("no node id in the checkpoint: {}", state["checkpoint"])))
}

/// The member `id` of the member `node`, at any depth: where it is, is the agent's own matter.
fn node_id(value: &Value) -> Option<&str> {
    let members = value.as_object()?;
    let id = members.get("node").and_then(|node| node.get("id")?.as_str());
    id.or_else(|| members.values().find_map(node_id))
}
