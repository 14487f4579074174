//! `cloudly node logs`: collects the last log lines of a node and prints them.

use super::client::Client;
use super::durations::{DAY, duration, in_units};
use super::output::{self, Outcome, plain};
use baseos_interfaces::admin::{CommandRecord, CreateCommand, Page};
use baseos_interfaces::command::{CommandAction, CommandState};
use clap::Args;
use std::error::Error;
use std::time::Duration;

/// Interval of looks for the result.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Id or name
    node: String,
    /// How many lines
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500))]
    lines: u32,
    /// How long to wait for the node, which answers with its heartbeats, from 1s to 1d
    #[arg(long, value_name = "DURATION", value_parser = duration(1, DAY), default_value = "3m")]
    wait: u32,
    /// Print what was collected last, without asking the node
    #[arg(long, conflicts_with = "lines")]
    last: bool,
}

pub(super) async fn run(client: &Client, args: LogsArgs) -> Outcome {
    let collected = if args.last {
        let id = client.node_id(&args.node).await?;
        let is_log = |command: &CommandRecord| {
            matches!(command.action, CommandAction::CollectLogs { .. }) && command.result.is_some()
        };
        let found = commands(client, &id).await?.into_iter().find(is_log);
        found.ok_or("no log of this node was collected yet: leave out --last")?
    } else {
        let id = client.id_of_reachable(&args.node).await?;
        collect(client, &id, &args).await?
    };
    print(client, &collected)
}

async fn commands(client: &Client, id: &str) -> Result<Vec<CommandRecord>, Box<dyn Error>> {
    let page: Page<CommandRecord> = client.get(&format!("nodes/{id}/commands")).await?;
    Ok(page.items)
}

async fn collect(client: &Client, id: &str, args: &LogsArgs) -> Result<CommandRecord, Box<dyn Error>> {
    let request = CreateCommand {
        action: CommandAction::CollectLogs { lines: args.lines },
        ttl_seconds: None,
    };
    let sent: CommandRecord = client.post(&format!("nodes/{id}/commands"), &request).await?;
    let finished = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let commands = commands(client, id).await?;
            let ours = commands.into_iter().find(|command| command.id == sent.id);
            if let Some(command) = ours.filter(|command| command.result.is_some()) {
                return Ok(command);
            }
        }
    };
    let limit = Duration::from_secs(args.wait.into());
    tokio::time::timeout(limit, finished).await.unwrap_or_else(|_| {
        let waited = in_units(args.wait);
        Err(format!(
            "no answer within {waited}; it comes with a heartbeat of the node, then `cloudly node logs {} --last` \
             prints it",
            plain(&args.node)
        )
        .into())
    })
}

fn print(client: &Client, command: &CommandRecord) -> Outcome {
    if client.json {
        return output::json(command);
    }
    let Some(result) = &command.result else {
        return Ok(());
    };
    let text = result.message.as_deref().unwrap_or_default();
    if result.state != CommandState::Succeeded {
        return Err(format!("the node could not collect its log: {}", plain(text)).into());
    }
    text.lines().try_for_each(|line| output::line(&plain(line)))
}
