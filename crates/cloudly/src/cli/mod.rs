//! The command line: one file a noun, each of which asks the admin API and prints the answer.

mod arguments;
mod audit;
mod client;
mod commands;
mod events;
mod join_tokens;
mod logs;
mod node_summary;
mod nodes;
mod output;
mod registry;
mod releases;
mod serve;
mod targets;

use arguments::Global;
use clap::{Parser, Subcommand};
use client::Client;
use output::Outcome;
use std::error::Error;
use std::process::ExitCode;

/// Cloudly's BaseOS manager.
#[derive(Debug, Parser)]
#[command(name = "cloudly", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<serve::Serve>),
    /// Join tokens: what new nodes enrol with
    #[command(subcommand)]
    Token(join_tokens::TokenCommand),
    /// App releases
    #[command(subcommand)]
    Release(releases::ReleaseCommand),
    /// What nodes should run
    #[command(subcommand)]
    Desired(targets::DesiredCommand),
    /// Nodes
    #[command(subcommand)]
    Node(nodes::NodeCommand),
    /// Who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

pub(crate) async fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let client = || Client::new(&global);
    match command {
        Command::Serve(serve) => serve::run(*serve, &global).await,
        Command::Token(join_tokens::TokenCommand::Generate) => join_tokens::generate(),
        Command::Token(command) => join_tokens::run(&client()?, command).await,
        Command::Release(command) => releases::run(&client()?, command).await,
        Command::Desired(command) => targets::run(&client()?, command).await,
        Command::Node(command) => nodes::run(&client()?, command).await,
        Command::Audit(command) => audit::run(&client()?, command).await,
    }
}

/// Prints an error and its causes.
pub(crate) fn failed(error: &dyn Error) -> ExitCode {
    eprint!("cloudly: {error}");
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors have their cause in their own text.
        if !shown.contains(&text) {
            eprint!(": {text}");
            shown = text;
        }
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
