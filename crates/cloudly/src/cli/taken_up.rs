//! A release that is desired and not taken up: since when it was asked for, and until when the node is heard.

use super::durations::about;
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::register::Approval;

/// Since when the node is asked, and until when it takes up what is desired of it. `None`: nothing is sent to the node,
/// which its state says, or it is not known.
pub(super) fn expected(node: &NodeRecord) -> Option<String> {
    let is_served =
        node.lifecycle == "active" && node.approval == Approval::Approved && !node.clone_suspected;
    let now = node.server_time.filter(|_| is_served)?;
    let asked = about(now.duration_since(node.desired_set_at?).as_secs());
    let knows = node.observed_revision >= node.desired_revision;
    let what = if knows {
        "it has heard that, and says more"
    } else {
        "expected"
    };
    let when = match node.next_heartbeat_at {
        None => "when it is back".to_owned(),
        Some(due) if due > now => {
            let left = due.duration_since(now).as_secs().saturating_add(1);
            format!("with its next heartbeat, within {}", about(left))
        }
        Some(due) => {
            let over = about(now.duration_since(due).as_secs());
            format!("with its next heartbeat, which is {over} overdue")
        }
    };
    Some(format!("asked {asked} ago; {what} {when}"))
}

#[cfg(test)]
mod tests {
    use super::expected;
    use baseos_interfaces::admin::NodeRecord;
    use serde_json::{Value, json};

    fn node(with: &Value) -> NodeRecord {
        let mut node = json!({
            "id": "node_1", "name": "edge", "facts": { "name": "edge", "agentVersion": "0.1.0" }, "labels": {},
            "approval": "approved", "lifecycle": "active", "cloneSuspected": false, "presence": "online",
            "lastSeenAt": "2026-01-01T00:09:30Z", "nextHeartbeatAt": "2026-01-01T00:10:30Z",
            "enrolledAt": "2026-01-01T00:00:00Z", "desiredRevision": 2, "observedRevision": 1,
            "desiredCommit": "c0ffee2", "desiredSetAt": "2026-01-01T00:05:00Z", "status": null,
            "serverTime": "2026-01-01T00:10:00.5Z",
        });
        node.as_object_mut()
            .unwrap()
            .extend(with.as_object().unwrap().clone());
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn it_is_said_since_when_a_node_is_asked_and_until_when_it_is_heard() {
        for (with, says) in [
            (
                json!({}),
                "asked 5m ago; expected with its next heartbeat, within 30s",
            ),
            (
                json!({ "nextHeartbeatAt": "2026-01-01T00:08:00Z" }),
                "asked 5m ago; expected with its next heartbeat, which is 2m overdue",
            ),
            (
                json!({ "nextHeartbeatAt": null }),
                "asked 5m ago; expected when it is back",
            ),
            (
                json!({ "observedRevision": 2 }),
                "asked 5m ago; it has heard that, and says more with its next heartbeat, within 30s",
            ),
        ] {
            assert_eq!(expected(&node(&with)).as_deref(), Some(says), "{with}");
        }
        for with in [
            json!({ "lifecycle": "suspended" }),
            json!({ "approval": "pending" }),
            json!({ "cloneSuspected": true }),
            json!({ "serverTime": null }),
        ] {
            assert_eq!(expected(&node(&with)), None, "{with}");
        }
    }
}
