//! What a node does and what blocks it, in one sentence.

use super::output::{plain, short, time, time_or_dash};
use super::taken_up;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{NodeRecord, PresenceState};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::register::{Approval, POSSIBLE_REPLACEMENT};
use baseos_interfaces::running::Running;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, BlockerKind, NodeStatus, UpdateStatus};

pub(super) fn sentence(node: &NodeRecord) -> String {
    let name = plain(&node.name);
    if node.lifecycle == "removed" {
        let last = refused(node);
        return format!("{name} was removed; its heartbeats are refused{last}.");
    }
    if node.lifecycle == "suspended" {
        let last = refused(node);
        return format!("{name} is suspended; its heartbeats are refused until it is restored{last}.");
    }
    if node.clone_suspected {
        let held = held_by_suspicion(node)
            .map(|commit| format!("; its update to {commit} waits for that"))
            .unwrap_or_default();
        return format!(
            "{name} seems to run twice: nothing is sent to it until you find the second one and run `cloudly node \
             clear-clone`{held}."
        );
    }
    if node.approval != Approval::Approved {
        let reason = match node.approval_reason.as_deref() {
            Some(POSSIBLE_REPLACEMENT) => match &node.same_hardware {
                Some(other) => format!(": {} ({}) has the same hardware", plain(&other.name), other.id),
                None => ": another node had the same hardware".to_owned(),
            },
            Some("approvalRequired") => ": its join token asks for it".to_owned(),
            _ => String::new(),
        };
        return format!("{name} waits for your approval{reason}.");
    }
    let Some(status) = &node.status else {
        return format!("{name} is enrolled and has not reported its status yet.");
    };
    let activity = format!("{}{}", activity(node, status), blocked(&status.update));
    match node.presence {
        PresenceState::Online | PresenceState::Unknown => format!("{name} {activity}."),
        PresenceState::Late => format!("{name} is late; when last heard from, it {activity}."),
        PresenceState::Offline => {
            format!(
                "{name} is offline since {}; when last heard from, it {activity}.",
                time_or_dash(node.last_seen_at)
            )
        }
    }
}

/// Whether a node that is not active is heard.
fn refused(node: &NodeRecord) -> String {
    match node.last_refused_at {
        Some(at) => format!("; the last one came at {}", time(at)),
        None => "; none has come since then, or since Cloudly's start".to_owned(),
    }
}

/// The release that the node would go to if it were not suspected to run twice.
fn held_by_suspicion(node: &NodeRecord) -> Option<String> {
    let update = &node.status.as_ref()?.update;
    let is_suspicion = |blocker: &Blocker| blocker.kind == BlockerKind::CloneSuspected;
    let commit = node.desired_commit.as_deref().or(update.target.as_deref());
    let held = update.blocked_by.iter().any(is_suspicion);
    held.then(|| short(commit))
}

fn activity(node: &NodeRecord, status: &NodeStatus) -> String {
    let update = &status.update;
    let running = Running::from(status);
    let target = short(update.target.as_deref());
    let reason = update
        .error
        .as_ref()
        .map(|error| format!(": {}", plain(&error.message)))
        .unwrap_or_default();
    match update.state {
        UpdateState::Staged => format!("checks release {target}"),
        UpdateState::Waiting => {
            let reasons = blockers(update).unwrap_or_else(|| "its turn".to_owned());
            format!("is ready to update to {target} and waits for {reasons}")
        }
        UpdateState::Applying => match update.progress_percent {
            Some(percent) => format!("applies release {target} ({percent} %)"),
            None => format!("applies release {target}"),
        },
        UpdateState::Rebooting => format!("restarts to apply release {target}"),
        UpdateState::Verifying => format!("runs release {target} and watches whether it stays healthy"),
        UpdateState::Failed
            if update
                .error
                .as_ref()
                .is_some_and(|error| error.code == ErrorCode::ImageNotFound) =>
        {
            format!(
                "cannot fetch release {target}{reason}; it runs {}",
                in_words(running)
            )
        }
        UpdateState::Failed
            if update.target.as_deref().map(Running::Release) == Some(running)
                && update
                    .error
                    .as_ref()
                    .is_some_and(|error| error.code == ErrorCode::ImageNotReplaced) =>
        {
            format!("does not run release {target}, although its Supervisor calls it applied{reason}")
        }
        UpdateState::Failed
            if found_bad_earlier(update).is_some()
                && update.target.as_deref().map(Running::Release) != Some(running) =>
        {
            format!(
                "does not try release {target}: it is known to be bad since {}{}; {FORCE} tries it again; it runs {}",
                time_or_dash(found_bad_earlier(update)),
                update
                    .error
                    .as_ref()
                    .map(|error| format!(" ({})", plain(&error.message)))
                    .unwrap_or_default(),
                in_words(running)
            )
        }
        UpdateState::Failed => format!(
            "gave up on release {target}{reason}; it runs {}",
            in_words(running)
        ),
        UpdateState::RollbackNeeded => {
            let next = match (update.going_back, back_to(update)) {
                (Some(true), Some(release)) => format!("it is going back to release {release} now"),
                (Some(true), None) => "it is going back now".to_owned(),
                (Some(false), _) => {
                    "it does not go back by itself and stays so until you set another release desired"
                        .to_owned()
                }
                (None, _) => "its agent does not say whether it is going back or waits for you".to_owned(),
            };
            format!("found release {target} bad{reason}; {next}")
        }
        UpdateState::RolledBack => {
            let again = if node.desired_commit == update.target {
                format!("; it is known to be bad and not tried again, but {FORCE} does")
            } else {
                String::new()
            };
            format!(
                "went back from release {target}{reason}; it runs {}{again}",
                in_words(running)
            )
        }
        _ => match (node.desired_commit.as_deref(), running) {
            (None, Running::Nothing) => "runs no release and is not asked to".to_owned(),
            (None, _) => format!("runs {}; nothing else is asked of it", in_words(running)),
            (Some(wanted), Running::Release(runs)) if wanted == runs => {
                format!("runs release {}, as desired; nothing to do", short(Some(runs)))
            }
            (Some(wanted), _) => {
                let expected = taken_up::expected(node).map(|text| format!(" ({text})"));
                format!(
                    "has not taken up release {} yet{}; it runs {}",
                    short(Some(wanted)),
                    expected.unwrap_or_default(),
                    in_words(running)
                )
            }
        },
    }
}

/// The release that a bad one can be gone back from to.
fn back_to(update: &UpdateStatus) -> Option<String> {
    let target = update.rollback.as_ref()?.target.as_deref()?;
    Some(short(Some(target)))
}

/// What tries a release again that is known to be bad.
const FORCE: &str = "a forced order (`cloudly desired set --force`)";

/// Since when a release is known to be bad that was not tried at all this time: the error is of an earlier update.
fn found_bad_earlier(update: &UpdateStatus) -> Option<Timestamp> {
    let error = update.error.as_ref()?;
    let first = update.attempt.is_none_or(|attempt| attempt <= 1);
    (first && update.phase_since? != error.at).then_some(error.at)
}

/// What blocks an update that is not in the waiting state, whose activity says it already.
fn blocked(update: &UpdateStatus) -> String {
    blockers(update)
        .filter(|_| update.state != UpdateState::Waiting)
        .map(|reasons| format!("; it waits for {reasons}"))
        .unwrap_or_default()
}

fn blockers(update: &UpdateStatus) -> Option<String> {
    let reasons: Vec<_> = update.blocked_by.iter().map(blocker).collect();
    (!reasons.is_empty()).then(|| reasons.join(", and for "))
}

fn in_words(running: Running<'_>) -> String {
    match running {
        Running::Release(commit) => format!("release {}", short(Some(commit))),
        Running::Nothing => "no release".to_owned(),
        Running::NotKnown => "a release that is not known at the moment".to_owned(),
    }
}

fn blocker(blocker: &Blocker) -> String {
    let holder = blocker.holder.as_deref().map(plain);
    let mut text = match blocker.kind {
        BlockerKind::LocalLock => format!("the update lock of {}", holder.as_deref().unwrap_or("a service")),
        BlockerKind::Window => "its maintenance window".to_owned(),
        BlockerKind::Deferred => "the end of a deferral at the device".to_owned(),
        BlockerKind::Approval => "approval at the device".to_owned(),
        BlockerKind::RolloutSlot => "its turn in the rollout".to_owned(),
        BlockerKind::DiskSpace => "disk space".to_owned(),
        BlockerKind::HostUpdate => "the host OS update to end".to_owned(),
        BlockerKind::SupervisorUnavailable => "the Supervisor to answer".to_owned(),
        BlockerKind::PullFailing => format!(
            "the image {} to be pulled",
            holder.as_deref().unwrap_or("of a service")
        ),
        BlockerKind::DiskFull => format!(
            "room on its disk for the image {}",
            holder.as_deref().unwrap_or("of a service")
        ),
        BlockerKind::StartFailing => format!(
            "the service {} to start",
            holder.as_deref().unwrap_or("it changes")
        ),
        BlockerKind::SupervisorBackoff => "the Supervisor's pause to end".to_owned(),
        BlockerKind::RetryBackoff => "its next attempt".to_owned(),
        BlockerKind::RollbackImpossible => "a way back, which its policy asks for".to_owned(),
        BlockerKind::StateNotWritable => "its state to become writable".to_owned(),
        BlockerKind::CloneSuspected => "the suspicion of a clone to be cleared".to_owned(),
        BlockerKind::Unknown => "something this Cloudly does not know".to_owned(),
    };
    if let Some(reason) = &blocker.reason {
        text.push_str(&format!(" ({})", plain(reason)));
    }
    if let Some(until) = blocker.expires_at {
        text.push_str(&format!(", until {} at the latest", time(until)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{blocked, in_words, sentence};
    use baseos_interfaces::admin::NodeRecord;
    use baseos_interfaces::running::Running;
    use baseos_interfaces::status::{BlockerKind, NodeStatus, UpdateStatus};
    use serde_json::json;

    fn update(state: &str) -> UpdateStatus {
        serde_json::from_value(json!({
            "kind": "app", "state": state, "target": "c0ffee1", "attempt": 1, "maxAttempts": 3,
            "blockedBy": [{ "kind": "supervisorUnavailable", "since": "2026-01-01T00:00:00Z" }],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_not_known_is_not_called_nothing() {
        assert_eq!(in_words(Running::Release("c0ffee1")), "release c0ffee1");
        assert_eq!(in_words(Running::Nothing), "no release");
        assert_eq!(
            in_words(Running::NotKnown),
            "a release that is not known at the moment"
        );
    }

    #[test]
    fn a_clone_is_said_to_hold_the_update_that_it_holds() {
        let mut node: NodeRecord = serde_json::from_value(json!({
            "id": "node_1", "name": "edge", "facts": { "name": "edge", "agentVersion": "0.1.0" }, "labels": {},
            "approval": "approved", "lifecycle": "active", "cloneSuspected": true, "presence": "online",
            "lastSeenAt": null, "enrolledAt": "2026-01-01T00:00:00Z", "desiredRevision": 2, "observedRevision": 1,
            "desiredCommit": "c0ffee2", "status": null,
        }))
        .unwrap();
        let twice = "edge seems to run twice: nothing is sent to it until you find the second one and run `cloudly node \
                     clear-clone`";
        assert_eq!(sentence(&node), format!("{twice}."));
        let mut status: NodeStatus = serde_json::from_value(json!({
            "agent": { "version": "0.1.0", "startedAt": "2026-01-01T00:00:00Z", "restartCount": 0, "state": "idle" },
            "update": update("idle"), "rollout": null, "health": { "state": "ok", "issues": [] },
        }))
        .unwrap();
        for blocker in &mut status.update.blocked_by {
            blocker.kind = BlockerKind::CloneSuspected;
        }
        node.status = Some(status);
        assert_eq!(
            sentence(&node),
            format!("{twice}; its update to c0ffee2 waits for that.")
        );
    }

    /// An active node, with these members.
    fn node(with: &serde_json::Value) -> NodeRecord {
        let mut node = json!({
            "id": "node_1", "name": "edge", "facts": { "name": "edge", "agentVersion": "0.1.0" }, "labels": {},
            "approval": "approved", "lifecycle": "active", "cloneSuspected": false, "presence": "online",
            "lastSeenAt": null, "enrolledAt": "2026-01-01T00:00:00Z", "desiredRevision": 2, "observedRevision": 2,
            "desiredCommit": "c0ffee1", "status": null,
        });
        node.as_object_mut()
            .unwrap()
            .extend(with.as_object().unwrap().clone());
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_node_whose_hardware_another_one_has_names_that_one() {
        let mut pending = node(&json!({
            "approval": "pending", "approvalReason": "possibleReplacement",
            "sameHardware": { "id": "node_0", "name": "edge-old" },
        }));
        let waits = "edge waits for your approval";
        assert_eq!(
            sentence(&pending),
            format!("{waits}: edge-old (node_0) has the same hardware.")
        );
        pending.same_hardware = None;
        assert_eq!(
            sentence(&pending),
            format!("{waits}: another node had the same hardware.")
        );
    }

    #[test]
    fn a_bad_release_is_said_to_be_gone_back_from_or_to_stay() {
        for (going_back, says) in [
            (Some(true), "it is going back to release c0ffee0 now"),
            (
                Some(false),
                "it does not go back by itself and stays so until you set another release desired",
            ),
            (
                None,
                "its agent does not say whether it is going back or waits for you",
            ),
        ] {
            let mut update = update("rollback-needed");
            update.blocked_by.clear();
            update.going_back = going_back;
            update.rollback =
                serde_json::from_value(json!({ "state": "possible", "target": "c0ffee0" })).unwrap();
            let status = json!({
                "agent": { "version": "0.1.0", "startedAt": "2026-01-01T00:00:00Z", "restartCount": 0, "state": "idle" },
                "update": update, "rollout": null, "health": { "state": "ok", "issues": [] },
            });
            let sentence = sentence(&node(&json!({ "status": status })));
            assert_eq!(sentence, format!("edge found release c0ffee1 bad; {says}."));
        }
    }

    #[test]
    fn blockers_are_named_once_in_every_state() {
        for state in ["staged", "applying", "rollback-needed", "idle"] {
            assert_eq!(
                blocked(&update(state)),
                "; it waits for the Supervisor to answer",
                "{state}"
            );
        }
        assert_eq!(blocked(&update("waiting")), "");
    }
}
