//! `cloudly audit …`.

use super::client::Client;
use super::output::{self, Outcome, dash, time};
use baseos_interfaces::admin::{AuditRecord, Page};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// The last lines of the audit log, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

pub(super) async fn run(client: &Client, command: AuditCommand) -> Outcome {
    let AuditCommand::List { limit } = command;
    let page: Page<AuditRecord> = client.get(&format!("audit?limit={limit}")).await?;
    let row = |record: &AuditRecord| {
        [
            time(record.at),
            record.actor.clone(),
            record.action.clone(),
            record.subject.clone().unwrap_or_else(dash),
            record.data.to_string(),
        ]
    };
    let headers = ["AT", "WHO", "WHAT", "ON", "DETAILS"];
    output::list(client.json, &page.items, headers, row, "the audit log is empty")
}
