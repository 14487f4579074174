//! The status hash: tells Cloudly whether it already has the status a node would send.

use crate::status::NodeStatus;
use sha2::{Digest, Sha256};

/// 16 hex digits over the status's JSON. A change detector, not a signature.
pub fn status_hash(status: &NodeStatus) -> String {
    // A status consists of strings, numbers and maps with string keys; serde_json cannot fail on those.
    let json = serde_json::to_vec(status).unwrap_or_default();
    Sha256::digest(&json)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
