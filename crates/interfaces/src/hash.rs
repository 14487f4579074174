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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ip: &str) -> NodeStatus {
        serde_json::from_value(serde_json::json!({
            "agent": { "version": "0.1.0", "startedAt": "2026-11-23T11:00:00Z", "restartCount": 0, "state": "idle" },
            "update": { "kind": "app", "state": "idle", "blockedBy": [] },
            "rollout": null,
            "network": { "ipAddresses": [ip], "macAddresses": [] },
            "health": { "state": "ok", "issues": [] },
        }))
        .unwrap()
    }

    #[test]
    fn a_status_has_a_hash_of_its_own() {
        let hash = status_hash(&status("10.0.4.17"));
        assert_eq!(hash, status_hash(&status("10.0.4.17")));
        assert_ne!(hash, status_hash(&status("10.0.4.18")));
        assert_eq!(hash.len(), 16);
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
}
