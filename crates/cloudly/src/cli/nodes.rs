//! `cloudly node …` and `cloudly audit …`.

use super::client::Client;
use super::render::{self, short, time, time_or_dash};
use super::{Outcome, seconds, show};
use baseos_interfaces::admin::{AuditRecord, CommandRecord, CreateCommand, EventRecord, NodeRecord, Page};
use baseos_interfaces::command::{CommandAction, CommandState};
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::RolloutState;
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// All nodes
    List,
    /// One node: what it does, what blocks it, and the facts
    Show {
        /// Id or name
        node: String,
    },
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
    /// What happened on a node, newest first
    Events {
        /// Id or name
        node: String,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CommandArgs {
    /// Id or name
    node: String,
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// For restartService: which one
    #[arg(long, required_if_eq("action", "restartService"))]
    service: Option<String>,
    /// For collectLogs: how many
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500))]
    lines: u32,
    /// How long the command may wait for the node
    #[arg(long, value_parser = seconds, default_value = "1h")]
    ttl: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    #[value(name = "checkNow", alias = "check-now")]
    CheckNow,
    #[value(name = "restartService", alias = "restart-service")]
    RestartService,
    Reboot,
    #[value(name = "collectLogs", alias = "collect-logs")]
    CollectLogs,
    #[value(name = "rotateToken", alias = "rotate-token")]
    RotateToken,
}

pub(crate) async fn node(client: Client, command: NodeCommand) -> Outcome {
    match command {
        NodeCommand::List => list(&client).await,
        NodeCommand::Show { node } => {
            let id = client.node_id(&node).await?;
            let record: NodeRecord = client.get(&format!("nodes/{id}")).await?;
            if client.json {
                render::json(&record)
            } else {
                show::node(&record)
            }
        }
        NodeCommand::Approve { node } => decide(&client, &node, "approve").await,
        NodeCommand::Suspend { node } => decide(&client, &node, "suspend").await,
        NodeCommand::Restore { node } => decide(&client, &node, "restore").await,
        NodeCommand::Remove { node } => decide(&client, &node, "remove").await,
        NodeCommand::ClearClone { node } => decide(&client, &node, "clear-clone").await,
        NodeCommand::Command(args) => send(&client, args).await,
        NodeCommand::Commands { node } => commands(&client, &node).await,
        NodeCommand::Events { node, limit } => events(&client, &node, limit).await,
    }
}

async fn list(client: &Client) -> Outcome {
    let nodes: Vec<NodeRecord> = client.all("nodes").await?;
    if client.json {
        return render::json(&nodes);
    }
    let rows: Vec<_> = nodes.iter().map(row).collect();
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
    render::table(
        &headers,
        &rows,
        "there are no nodes yet: `cloudly token create` makes a join token for the first",
    )
}

fn row(node: &NodeRecord) -> Vec<String> {
    let state = match (node.lifecycle.as_str(), node.approval, node.clone_suspected) {
        ("active", Approval::Approved, false) => "active",
        ("active", Approval::Approved, true) => "clone suspected",
        ("active", _, _) => "pending",
        (lifecycle, _, _) => lifecycle,
    };
    let status = node.status.as_ref();
    let rollout = status.and_then(|status| RolloutState::from_update(status.update.state));
    vec![
        node.id.clone(),
        node.name.clone(),
        state.to_owned(),
        render::presence(node.presence).to_owned(),
        time_or_dash(node.last_seen_at),
        short(status.and_then(|status| status.release.running.as_deref())),
        short(node.desired_commit.as_deref()),
        rollout.map_or_else(render::dash, |state| state.as_str().to_owned()),
    ]
}

async fn decide(client: &Client, node: &str, decision: &str) -> Outcome {
    let id = client.node_id(node).await?;
    let record: NodeRecord = client.post(&format!("nodes/{id}/{decision}"), &()).await?;
    if client.json {
        render::json(&record)
    } else {
        render::line(&show::sentence(&record))
    }
}

async fn send(client: &Client, args: CommandArgs) -> Outcome {
    let id = client.node_id(&args.node).await?;
    let action = match args.action {
        Action::CheckNow => CommandAction::CheckNow {},
        Action::RestartService => CommandAction::RestartService {
            service: args.service.unwrap_or_default(),
        },
        Action::Reboot => CommandAction::Reboot {},
        Action::CollectLogs => CommandAction::CollectLogs { lines: args.lines },
        Action::RotateToken => CommandAction::RotateToken {},
    };
    let wish = CreateCommand {
        action,
        ttl_seconds: Some(args.ttl),
    };
    let command: CommandRecord = client.post(&format!("nodes/{id}/commands"), &wish).await?;
    if client.json {
        return render::json(&command);
    }
    render::line(&format!(
        "{} goes to {id} with its next heartbeat, until {}: {}",
        command.action.name(),
        time(command.expires_at),
        command.id
    ))
}

async fn commands(client: &Client, node: &str) -> Outcome {
    let id = client.node_id(node).await?;
    let page: Page<CommandRecord> = client.get(&format!("nodes/{id}/commands")).await?;
    if client.json {
        return render::json(&page.items);
    }
    let row = |command: &CommandRecord| {
        let (state, message) = match &command.result {
            None => ("waiting", None),
            Some(result) => (state(result.state), result.message.clone()),
        };
        let message = message.unwrap_or_else(render::dash);
        vec![
            command.id.clone(),
            command.action.name().to_owned(),
            time(command.issued_at),
            state.to_owned(),
            message,
        ]
    };
    let rows: Vec<_> = page.items.iter().map(row).collect();
    render::table(
        &["ID", "TYPE", "ISSUED", "RESULT", "MESSAGE"],
        &rows,
        "no command was sent to this node",
    )
}

const fn state(state: CommandState) -> &'static str {
    match state {
        CommandState::Succeeded => "succeeded",
        CommandState::Failed => "failed",
        CommandState::Expired => "expired",
        CommandState::Unknown => "unknown",
    }
}

async fn events(client: &Client, node: &str, limit: u32) -> Outcome {
    let id = client.node_id(node).await?;
    let page: Page<EventRecord> = client.get(&format!("nodes/{id}/events?limit={limit}")).await?;
    if client.json {
        return render::json(&page.items);
    }
    let row = |record: &EventRecord| {
        let event = &record.event;
        vec![
            time(record.received_at),
            time(event.at),
            event.kind.clone(),
            event.data.to_string(),
        ]
    };
    let rows: Vec<_> = page.items.iter().map(row).collect();
    render::table(
        &["RECEIVED", "ON THE DEVICE", "TYPE", "DATA"],
        &rows,
        "nothing was reported yet",
    )
}

/// `cloudly audit list`.
pub(crate) async fn audit(client: &Client, limit: u32) -> Outcome {
    let page: Page<AuditRecord> = client.get(&format!("audit?limit={limit}")).await?;
    if client.json {
        return render::json(&page.items);
    }
    let row = |record: &AuditRecord| {
        let subject = record.subject.clone().unwrap_or_else(render::dash);
        vec![
            time(record.at),
            record.actor.clone(),
            record.action.clone(),
            subject,
            record.data.to_string(),
        ]
    };
    let rows: Vec<_> = page.items.iter().map(row).collect();
    render::table(
        &["AT", "WHO", "WHAT", "ON", "DETAILS"],
        &rows,
        "the audit log is empty",
    )
}
