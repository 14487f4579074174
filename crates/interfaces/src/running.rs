//! What a status says of the release that runs.

use crate::status::NodeStatus;

/// What runs on a node, as far as its status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running<'a> {
    /// The release with this commit.
    Release(&'a str),
    /// No release: there are no services.
    Nothing,
    /// The Supervisor does not answer, or is changing services and names no release meanwhile.
    NotKnown,
}

impl<'a> From<&'a NodeStatus> for Running<'a> {
    fn from(status: &'a NodeStatus) -> Self {
        match (&status.release, status.running()) {
            (_, Some(commit)) => Self::Release(commit),
            (Some(release), None) if release.services.is_empty() => Self::Nothing,
            _ => Self::NotKnown,
        }
    }
}

/// The first twelve characters of a commit, for people.
#[must_use]
pub fn short(commit: &str) -> &str {
    commit
        .char_indices()
        .nth(12)
        .map_or(commit, |(end, _)| &commit[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_up_to_twelve_characters_is_shown_whole() {
        for (commit, shown) in [
            ("d4d4d4d4", "d4d4d4d4"),
            ("0123456789ab", "0123456789ab"),
            ("0123456789abcdef", "0123456789ab"),
            ("ääääääääääääß", "ääääääääääää"),
        ] {
            assert_eq!(short(commit), shown);
        }
    }

    #[test]
    fn what_runs_while_services_are_changed_is_not_known() {
        let status = |release: serde_json::Value| -> NodeStatus {
            serde_json::from_value(serde_json::json!({
                "supervisor": { "available": true, "error": null }, "os": {}, "network": {}, "rollout": null,
                "agent": { "version": "0.1.0", "startedAt": "2026-11-24T00:00:00Z", "restartCount": 0, "state": "idle" },
                "update": { "kind": "app", "state": "rollback-needed", "target": "c0ffee1", "error": null },
                "health": { "state": "ok" }, "release": release,
            }))
            .unwrap()
        };
        let services = serde_json::json!({ "onebox": { "image": null, "status": "Stopping" } });
        let of = |running: Option<&str>, services: &serde_json::Value| {
            status(serde_json::json!({ "running": running, "previous": null, "services": services }))
        };
        let none = serde_json::json!({});
        assert_eq!(
            Running::from(&of(Some("c0ffee1"), &services)),
            Running::Release("c0ffee1")
        );
        assert_eq!(Running::from(&of(None, &services)), Running::NotKnown);
        assert_eq!(Running::from(&of(None, &none)), Running::Nothing);
        assert_eq!(Running::from(&status(serde_json::Value::Null)), Running::NotKnown);
    }
}
