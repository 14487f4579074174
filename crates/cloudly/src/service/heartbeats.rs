//! Heartbeats (contract §4): what a node reports, and what it is told.

use super::app::App;
use super::commands::shortened;
use super::error::{Error, Result};
use super::heartbeat_interval::{self, Progress};
use super::validate::{self, depth, text};
use super::{desired_state, node_tokens};
use crate::presence::runs::Sequence;
use crate::random;
use crate::storage::audit::AuditLine;
use crate::storage::heartbeats::{Needed, Report};
use crate::storage::node_session::NodeSession;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::heartbeat::{Heartbeat, HeartbeatAnswer, Instructions};
use baseos_interfaces::limits::NUMBER_MAX;
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::RolloutState;
use baseos_interfaces::status::{NodeStatus, RollbackState};
use serde_json::json;

/// How many times as long as usual a node waits whose status could not be taken in.
const SHED: u32 = 4;

/// Takes in a heartbeat and answers it.
pub(crate) async fn receive(
    app: &App,
    session: &NodeSession,
    heartbeat: Heartbeat,
) -> Result<HeartbeatAnswer> {
    validate::protocol(heartbeat.protocol_version)?;
    check(&heartbeat)?;
    let now = app.clock.now();
    let replaced = node_tokens::note_first_use(app, session, now).await?;
    let session = replaced.as_deref().unwrap_or(session);
    let node = session.node_id.as_str();
    let sequence = app.presence.receive(node, &heartbeat, now);
    let clone_suspected = session.clone_suspected || sequence == Sequence::CloneSuspected;
    let status_needed = match sequence {
        Sequence::Next => session.status_hash.as_ref() != Some(&heartbeat.status_hash),
        Sequence::Gap => true,
        Sequence::Stale | Sequence::CloneSuspected => false,
    };
    let mut instructions = Instructions {
        server_time: now,
        next_heartbeat_seconds: app.settings.heartbeat_seconds,
        resend_full_status: status_needed && heartbeat.status.is_none() && !clone_suspected,
        desired: None,
        commands: Vec::new(),
        approval: (session.approval != Approval::Approved || session.approval_decided)
            .then_some(session.approval),
        clone_suspected,
    };
    let observed = heartbeat.observed_revision;
    app.metrics.heartbeat(reports(&heartbeat));
    let may_wait = heartbeat.events.is_empty() && heartbeat.command_results.is_empty();
    let status = match store_report(app, session, heartbeat, sequence, now).await {
        Err(Error::Overloaded) if may_wait && !clone_suspected => {
            return Ok(shed(app, node, instructions));
        }
        stored => stored?,
    };
    let mut credentials = None;
    if !clone_suspected && session.approval == Approval::Approved {
        add_instructions(app, session, status.as_ref(), observed, &mut instructions).await?;
        credentials = node_tokens::rotate(app, session, &instructions.commands, now).await?;
    }
    app.presence
        .set_next_due(node, instructions.next_heartbeat_seconds, now);
    Ok(HeartbeatAnswer {
        instructions,
        credentials,
    })
}

/// More is reported than can be stored: the node is to come again later, and then with its whole status.
fn shed(app: &App, node: &str, mut instructions: Instructions) -> HeartbeatAnswer {
    instructions.next_heartbeat_seconds = random::spread(app.settings.heartbeat_seconds.saturating_mul(SHED));
    instructions.resend_full_status = true;
    app.presence.set_next_due(
        node,
        instructions.next_heartbeat_seconds,
        instructions.server_time,
    );
    HeartbeatAnswer {
        instructions,
        credentials: None,
    }
}

fn check(heartbeat: &Heartbeat) -> Result<()> {
    text("/runId", &heartbeat.run_id, 1, 64)?;
    text("/statusHash", &heartbeat.status_hash, 1, 128)?;
    for (pointer, number) in [
        ("/sequence", heartbeat.sequence),
        ("/observedRevision", heartbeat.observed_revision),
    ] {
        if number > NUMBER_MAX {
            return Err(Error::field(
                pointer,
                FieldCode::TooLarge,
                "numbers stay below 2^53",
            ));
        }
    }
    for (index, event) in heartbeat.events.iter().enumerate() {
        text(&format!("/events/{index}/id"), &event.id, 1, 128)?;
        text(&format!("/events/{index}/type"), event.kind.as_str(), 1, 64)?;
        depth(&format!("/events/{index}/data"), &event.data)?;
    }
    Ok(())
}

/// Adds the desired state if the node is not on it, the commands that wait, and the interval that fits them.
async fn add_instructions(
    app: &App,
    session: &NodeSession,
    status: Option<&NodeStatus>,
    observed: u64,
    instructions: &mut Instructions,
) -> Result<()> {
    let node = session.node_id.as_str();
    let now = instructions.server_time;
    if status.is_none() && session.is_up_to_date(observed, now) {
        let commit = session.wanted.commit.as_deref();
        let progress = Progress::stored(session);
        instructions.next_heartbeat_seconds = heartbeat_interval::seconds(&app.settings, commit, progress);
        return Ok(());
    }
    let running = match status {
        Some(status) => status
            .release
            .as_ref()
            .and_then(|release| release.running.as_deref()),
        None => session.running_commit.as_deref(),
    };
    let orders = app
        .storage
        .orders(node, now, |target| {
            let revision = desired_state::revision(target.as_ref(), session.desired_floor, now);
            let mut needed = Needed::default();
            if observed < revision || (observed == revision && lacks_fallback(status)) {
                needed.release = target.as_ref().and_then(|target| target.commit.clone());
                needed.running = running.map(str::to_owned);
            }
            ((target, revision), needed)
        })
        .await?;
    let (target, revision) = orders.made;
    let progress = status.map_or_else(|| Progress::stored(session), Progress::reported);
    let commit = target.as_ref().and_then(|target| target.commit.as_deref());
    instructions.next_heartbeat_seconds = heartbeat_interval::seconds(&app.settings, commit, progress);
    if observed > revision {
        tracing::warn!(
            node,
            observed,
            revision,
            "the node has seen a newer revision than this database knows"
        );
    } else if observed < revision || lacks_fallback(status) {
        let desired = desired_state::document(target, revision, orders.release, orders.running, now);
        // Again only if it brings what the node lacks.
        if observed < revision || desired.fallback.is_some() {
            instructions.desired = Some(desired);
        }
    }
    instructions.commands = orders.commands;
    Ok(())
}

/// Whether it says more than that the node is there.
fn reports(heartbeat: &Heartbeat) -> bool {
    heartbeat.status.is_some() || !heartbeat.events.is_empty() || !heartbeat.command_results.is_empty()
}

/// Whether the node has just reported an update that it could not undo: it may have been told what is desired before it
/// knew what runs.
fn lacks_fallback(status: Option<&NodeStatus>) -> bool {
    let rollback = status.and_then(|status| status.update.rollback.as_ref());
    rollback.is_some_and(|rollback| rollback.state == RollbackState::Impossible)
}

/// Stores what the heartbeat reports; the usual one reports nothing. Returns the status if it is newer than the stored
/// one.
async fn store_report(
    app: &App,
    session: &NodeSession,
    mut heartbeat: Heartbeat,
    sequence: Sequence,
    now: Timestamp,
) -> Result<Option<NodeStatus>> {
    let clone_found = sequence == Sequence::CloneSuspected && !session.clone_suspected;
    let stale = matches!(sequence, Sequence::Stale | Sequence::CloneSuspected);
    if stale {
        heartbeat.status = None;
    }
    if !reports(&heartbeat) && !clone_found {
        return Ok(None);
    }
    let node = session.node_id.as_str();
    let mut status = heartbeat.status.map(|status| *status);
    if let Some(status) = &mut status
        && let Some(rollout) = &mut status.rollout
    {
        rollout.state = RolloutState::from_update(status.update.state);
    }
    let cloned = clone_found.then(|| {
        let run = &heartbeat.run_id;
        tracing::warn!(node, run, "two agents seem to use this node's identity");
        let data = json!({ "runId": run });
        AuditLine::new("cloudly", "node.cloneSuspected", Some(node), data)
    });
    let results: Vec<_> = heartbeat.command_results.into_iter().map(shortened).collect();
    let report = Report {
        status: status
            .as_ref()
            .map(|status| (heartbeat.status_hash.as_str(), status)),
        events: &heartbeat.events,
        results: &results,
        cloned,
    };
    app.storage.report(node, report, now).await?;
    Ok(status)
}
