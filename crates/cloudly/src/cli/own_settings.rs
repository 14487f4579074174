//! Which nodes have a setting of their own, and so are not affected by the one for all.

use super::output::plain;
use baseos_interfaces::admin::NodeRecord;

/// How many are named.
const NAMED: usize = 5;

/// `None`: there are none.
pub(super) fn not_affected(nodes: &[NodeRecord]) -> Option<String> {
    let own: Vec<_> = nodes
        .iter()
        .filter(|node| node.desired_own && node.lifecycle != "removed")
        .map(|node| format!("{} ({})", plain(&node.name), node.id))
        .collect();
    let who = match own.len() {
        0 => return None,
        1 => "1 node has its own setting and is".to_owned(),
        many => format!("{many} nodes have their own setting and are"),
    };
    let mut named = own[..own.len().min(NAMED)].join(", ");
    if own.len() > NAMED {
        named.push_str(&format!(" and {} more", own.len() - NAMED));
    }
    Some(format!(
        "{who} not affected: {named}; `cloudly desired unset --node NODE` takes a node's own setting away"
    ))
}

#[cfg(test)]
mod tests {
    use super::not_affected;
    use baseos_interfaces::admin::NodeRecord;
    use serde_json::json;

    fn node(number: usize, own: bool, lifecycle: &str) -> NodeRecord {
        serde_json::from_value(json!({
            "id": format!("node_{number}"), "name": format!("edge-{number}"),
            "facts": { "name": "edge", "agentVersion": "0.1.0" }, "labels": {}, "approval": "approved",
            "lifecycle": lifecycle, "cloneSuspected": false, "presence": "online", "lastSeenAt": null,
            "enrolledAt": "2026-01-01T00:00:00Z", "desiredRevision": 2, "observedRevision": 1,
            "desiredCommit": "c0ffee2", "desiredOwn": own, "status": null,
        }))
        .unwrap()
    }

    #[test]
    fn of_many_nodes_with_their_own_setting_some_are_named_and_the_rest_is_counted() {
        let mut nodes = vec![node(0, false, "active"), node(9, true, "removed")];
        assert_eq!(not_affected(&nodes), None);
        nodes.push(node(1, true, "active"));
        let hint = "`cloudly desired unset --node NODE` takes a node's own setting away";
        assert_eq!(
            not_affected(&nodes).unwrap(),
            format!("1 node has its own setting and is not affected: edge-1 (node_1); {hint}")
        );
        nodes.extend((2..8).map(|number| node(number, true, "suspended")));
        assert_eq!(
            not_affected(&nodes).unwrap(),
            format!(
                "7 nodes have their own setting and are not affected: edge-1 (node_1), edge-2 (node_2), edge-3 (node_3), \
                 edge-4 (node_4), edge-5 (node_5) and 2 more; {hint}"
            )
        );
    }
}
