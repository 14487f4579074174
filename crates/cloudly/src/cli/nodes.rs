//! `cloudly node …`.

use super::client::Client;
use super::commands::{self, CommandArgs};
use super::decisions::{Decision, decide};
use super::logs::{self, LogsArgs};
use super::output::{self, Outcome, dash, plain, short, time, time_or_dash};
use super::{events, node_summary, refused_nodes, taken_up};
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::register::Approval;
use baseos_interfaces::running::Running;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, NodeStatus, ServiceStatus, UnusedImage};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// All nodes but those that were removed
    List {
        /// Those that were removed too
        #[arg(long)]
        removed: bool,
    },
    /// One node: what it does, what blocks it, and the facts
    Show {
        /// Id or name
        node: String,
    },
    /// Devices whose token is not known, and what brings them back
    Refused,
    /// Let a pending node in
    Approve {
        /// Id or name
        node: String,
    },
    /// Refuse a node's heartbeats until it is restored
    Suspend {
        /// Id or name
        node: String,
    },
    /// Take a suspended or removed node back
    Restore {
        /// Id, or name if it is not removed
        node: String,
    },
    /// Remove a node: it is told that it is no longer enrolled
    Remove {
        /// Id or name
        node: String,
    },
    /// Say that the second agent with a node's identity is gone
    ClearClone {
        /// Id or name
        node: String,
    },
    /// Send a command to a node
    Command(CommandArgs),
    /// The commands sent to a node, newest first, with their results
    Commands {
        /// Id or name
        node: String,
    },
    /// The last log lines of a node: asks it and waits for the answer
    Logs(LogsArgs),
    /// What happened on a node, newest first
    Events {
        /// Id or name
        node: String,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

pub(super) async fn run(client: &Client, command: NodeCommand) -> Outcome {
    match command {
        NodeCommand::List { removed } => list(client, removed).await,
        NodeCommand::Show { node } => show(client, &node).await,
        NodeCommand::Refused => refused_nodes::list(client).await,
        NodeCommand::Approve { node } => decide(client, &node, Decision::Approve).await,
        NodeCommand::Suspend { node } => decide(client, &node, Decision::Suspend).await,
        NodeCommand::Restore { node } => decide(client, &node, Decision::Restore).await,
        NodeCommand::Remove { node } => decide(client, &node, Decision::Remove).await,
        NodeCommand::ClearClone { node } => decide(client, &node, Decision::ClearClone).await,
        NodeCommand::Command(args) => commands::send(client, args).await,
        NodeCommand::Commands { node } => commands::list(client, &node).await,
        NodeCommand::Logs(args) => logs::run(client, args).await,
        NodeCommand::Events { node, limit } => events::list(client, &node, limit).await,
    }
}

async fn list(client: &Client, removed: bool) -> Outcome {
    let mut nodes: Vec<NodeRecord> = client.all("nodes").await?;
    let known = nodes.len();
    nodes.retain(|node| removed || !is_removed(node));
    let headers = [
        "ID",
        "NAME",
        "STATE",
        "PRESENCE",
        "LAST SEEN",
        "RUNS",
        "DESIRED",
        "UPDATE",
    ];
    let none = match known {
        0 => "there are no nodes yet: `cloudly token create` makes a join token for the first",
        _ => "all nodes were removed: `cloudly node list --removed` shows them",
    };
    output::list(client.json, &nodes, headers, row, none)
}

fn is_removed(node: &NodeRecord) -> bool {
    node.lifecycle == "removed"
}

/// Of a removed node, which has nothing to do any more, only that it was removed.
fn row(node: &NodeRecord) -> [String; 8] {
    let kept = |cell: String| if is_removed(node) { dash() } else { cell };
    let status = node.status.as_ref();
    [
        node.id.clone(),
        node.name.clone(),
        state(node).to_owned(),
        kept(presence(node).to_owned()),
        time_or_dash(node.last_seen_at.max(node.last_refused_at)),
        kept(short(status.and_then(NodeStatus::running))),
        kept(short(node.desired_commit.as_deref())),
        kept(status.map_or_else(dash, |status| update(node, status))),
    ]
}

/// Whether the node keeps its promise to be heard from; a suspended one is not held to it.
fn presence(node: &NodeRecord) -> &'static str {
    if node.lifecycle == "suspended" {
        "suspended"
    } else {
        output::presence(node.presence)
    }
}

/// Whether Cloudly takes the node's heartbeats, and if not, why.
fn state(node: &NodeRecord) -> &str {
    match (node.lifecycle.as_str(), node.approval, node.clone_suspected) {
        ("active", Approval::Approved, false) => "active",
        ("active", Approval::Approved, true) => "clone suspected",
        ("active", _, _) => "pending",
        (lifecycle, _, _) => lifecycle,
    }
}

/// The state of the update, and what blocks it first.
fn update(node: &NodeRecord, status: &NodeStatus) -> String {
    let update = &status.update;
    let state = if is_ahead(node) {
        "seen a later revision".to_owned()
    } else if not_taken_up(node, status) {
        match taken_up::expected(node) {
            Some(expected) => format!("not taken up yet: {expected}"),
            None => "not taken up yet".to_owned(),
        }
    } else {
        update.state.to_string()
    };
    match update.blocked_by.first() {
        Some(blocker) => format!("{state} ({})", blocker.kind.as_str()),
        None => state,
    }
}

/// Whether the node runs something else than is desired of it, and does nothing about it yet.
fn not_taken_up(node: &NodeRecord, status: &NodeStatus) -> bool {
    use UpdateState::{Cancelled, Idle, Succeeded, Superseded};
    let at_rest = matches!(status.update.state, Idle | Succeeded | Cancelled | Superseded);
    let running = Running::from(status);
    let wanted = node.desired_commit.as_deref().map(Running::Release);
    at_rest && running != Running::NotKnown && wanted.is_some_and(|wanted| wanted != running)
}

/// Whether the node has seen a revision that this Cloudly has not issued: it was restored from a backup.
const fn is_ahead(node: &NodeRecord) -> bool {
    node.observed_revision > node.desired_revision
}

async fn show(client: &Client, node: &str) -> Outcome {
    let id = client.node_id(node).await?;
    let node: NodeRecord = client.get(&format!("nodes/{id}")).await?;
    if client.json {
        return output::json(&node);
    }
    output::line(&node_summary::sentence(&node))?;
    output::line("")?;
    details(&node)
        .iter()
        .try_for_each(|(name, value)| output::line(&format!("  {name:<12} {}", plain(value))))
}

fn details(node: &NodeRecord) -> Vec<(&'static str, String)> {
    let removed = is_removed(node);
    let mut rows = vec![("id", node.id.clone()), ("state", state(node).to_owned())];
    if !removed {
        rows.push(("presence", presence(node).to_owned()));
    }
    rows.push(("last seen", time_or_dash(node.last_seen_at)));
    if let Some(at) = node.last_refused_at {
        rows.push(("last refused", time(at)));
    }
    rows.push(("enrolled", time(node.enrolled_at)));
    if !removed {
        rows.push(("desired", desired(node)));
        rows.push(("works on", works_on(node)));
    }
    rows.push(("agent", node.facts.agent_version.clone()));
    if !node.labels.is_empty() {
        let labels: Vec<_> = node
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        rows.push(("labels", labels.join(" ")));
    }
    if let Some(status) = node.status.as_ref().filter(|_| !removed) {
        push_status(&mut rows, status);
    }
    rows
}

fn desired(node: &NodeRecord) -> String {
    let own = if node.desired_own { ", own setting" } else { "" };
    format!(
        "{} (revision {}{own})",
        short(node.desired_commit.as_deref()),
        node.desired_revision
    )
}

fn works_on(node: &NodeRecord) -> String {
    let observed = node.observed_revision;
    if is_ahead(node) {
        format!(
            "revision {observed}, which is not known here: was Cloudly restored from a backup? It keeps what it runs until the \
             next `cloudly desired set`"
        )
    } else {
        format!("revision {observed}")
    }
}

fn push_status(rows: &mut Vec<(&'static str, String)>, status: &NodeStatus) {
    let release = status.release.as_ref();
    let version = release
        .and_then(|release| release.version.as_deref())
        .map(|v| format!(" ({v})"))
        .unwrap_or_default();
    let running = match Running::from(status) {
        Running::Release(commit) => short(Some(commit)),
        Running::Nothing => dash(),
        Running::NotKnown => "not known at the moment".to_owned(),
    };
    rows.push(("runs", format!("{running}{version}")));
    rows.push(("last update", outcome(status)));
    let blockers = status.update.blocked_by.iter();
    rows.extend(blockers.map(|blocker| ("blocked by", blocked_by(blocker))));
    let os = [&status.os.name, &status.os.version, &status.os.variant];
    let os: Vec<_> = os.into_iter().flatten().map(String::as_str).collect();
    rows.push(("host OS", if os.is_empty() { dash() } else { os.join(" ") }));
    let supervisor = match (&status.supervisor.version, status.supervisor.available) {
        (_, None) => "not looked at yet".to_owned(),
        (Some(version), Some(true)) => version.clone(),
        (None, Some(true)) => "available".to_owned(),
        (_, Some(false)) => format!(
            "not available: {}",
            status.supervisor.error.as_deref().unwrap_or("unknown")
        ),
    };
    rows.push(("Supervisor", supervisor));
    let addresses = &status.network.ip_addresses;
    rows.push((
        "addresses",
        if addresses.is_empty() {
            dash()
        } else {
            addresses.join(" ")
        },
    ));
    for (name, service) in release.iter().flat_map(|release| &release.services) {
        let stopped = match service.stopped_by_operator {
            true => format!(", {}", ServiceStatus::STOPPED),
            false => String::new(),
        };
        rows.push(("service", format!("{name}: {}{stopped}", service.status)));
    }
    let unused = release.map_or(&[][..], |release| &release.unused_images);
    rows.extend(unused.iter().map(|image| ("unused image", image.in_words())));
    if !unused.is_empty() {
        rows.push(("", UnusedImage::REMEDY.to_owned()));
    }
    for issue in &status.health.issues {
        let detail = issue
            .detail
            .as_deref()
            .map(|detail| format!(", {detail}"))
            .unwrap_or_default();
        rows.push((
            "issue",
            format!("{} since {}{detail}", issue.code, time(issue.since)),
        ));
    }
}

fn blocked_by(blocker: &Blocker) -> String {
    let detail: Vec<_> = [&blocker.holder, &blocker.reason]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let mut text = blocker.kind.as_str().to_owned();
    if !detail.is_empty() {
        text.push_str(&format!(" ({})", detail.join(": ")));
    }
    text.push_str(&format!(" since {}", time(blocker.since)));
    if let Some(until) = blocker.expires_at {
        text.push_str(&format!(", until {} at the latest", time(until)));
    }
    text
}

/// How the last update went.
fn outcome(status: &NodeStatus) -> String {
    let update = &status.update;
    let target = short(update.target.as_deref());
    match update.state {
        UpdateState::Idle if update.target.is_none() => "no update yet".to_owned(),
        state => {
            let since = update
                .phase_since
                .map(|at| format!(" since {}", time(at)))
                .unwrap_or_default();
            let error = update
                .error
                .as_ref()
                .map(|e| format!(", {}: {}", plain(e.code.as_str()), plain(&e.message)));
            format!("{target} {state}{since}{}", error.unwrap_or_default())
        }
    }
}
