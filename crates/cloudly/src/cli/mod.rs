//! The command line: one file a noun, each of which asks the admin API and prints the answer; `backup` and `db` open the
//! database themselves.

mod apply;
mod arguments;
mod audit;
mod backup;
mod client;
mod commands;
mod db;
mod decisions;
mod durations;
mod events;
mod export;
mod healthcheck;
mod join_tokens;
mod logs;
mod node_summary;
mod nodes;
mod options;
mod output;
mod own_settings;
mod refused_nodes;
mod registry;
mod releases;
mod serve;
mod server_address;
mod taken_up;
mod targets;
mod usage;

use arguments::Global;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
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
    /// Print releases and what is desired as JSON, for `cloudly apply`, with the secrets of releases
    Export,
    /// Make releases and what is desired be as a file of `cloudly export` says; what it does not name stays
    Apply(apply::ApplyArgs),
    /// Write the whole database into a file, while the server goes on
    Backup(backup::BackupArgs),
    /// Fill a database from a backup, of either engine; the server must not run
    Restore(backup::RestoreArgs),
    /// The database itself
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Exit with 0 if the server can do its work; needs no token
    Healthcheck,
}

impl Command {
    /// Whether what a server may refuse comes from options, not from a file with the names of members.
    fn is_given_by_options(&self) -> bool {
        match self {
            Self::Release(command) => !command.has_file(),
            Self::Desired(command) => !command.has_file(),
            Self::Apply(_) => false,
            Self::Serve(_)
            | Self::Token(_)
            | Self::Node(_)
            | Self::Audit(_)
            | Self::Export
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Db(_)
            | Self::Healthcheck => true,
        }
    }
}

impl Cli {
    /// As given to this process; ends it where they are wrong, or help is asked for.
    pub(crate) fn from_arguments() -> Self {
        let mut command = command_line();
        let parsed = command.try_get_matches_from_mut(std::env::args_os());
        let parsed = parsed
            .and_then(|matches| Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
        parsed.unwrap_or_else(|error| usage::as_in_help(error, &mut command).exit())
    }
}

/// Options that only mean something to commands that ask a server.
const OF_CLIENTS: &[&str] = &["url", "token_file", "allow_http"];

/// The command line; `serve` is no client, so its help does not have what clients need, and neither have those
/// that open the database themselves.
fn command_line() -> clap::Command {
    let mut command = Cli::command();
    // Gives each command the global options.
    command.build();
    let hidden: [(&str, &[&str]); 4] = [
        ("serve", &["url", "json"]),
        ("backup", OF_CLIENTS),
        ("restore", OF_CLIENTS),
        ("db", OF_CLIENTS),
    ];
    for (name, options) in hidden {
        if let Some(found) = command.find_subcommand_mut(name) {
            hide(found, options);
        }
    }
    command
}

fn hide(command: &mut clap::Command, options: &[&str]) {
    *command = std::mem::take(command).mut_args(|arg| {
        if options.contains(&arg.get_id().as_str()) {
            arg.hide(true)
        } else {
            arg
        }
    });
    for below in command.get_subcommands_mut() {
        hide(below, options);
    }
}

pub(crate) async fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let by_options = command.is_given_by_options();
    carry_out(&global, command)
        .await
        .map_err(|error| if by_options { options::named(error) } else { error })
}

async fn carry_out(global: &Global, command: Command) -> Outcome {
    let client = || Client::new(global);
    match command {
        Command::Serve(serve) => serve::run(*serve, global).await,
        Command::Token(join_tokens::TokenCommand::Generate) => join_tokens::generate(),
        Command::Token(command) => join_tokens::run(&client()?, command).await,
        Command::Release(command) => releases::run(&client()?, command).await,
        Command::Desired(command) => targets::run(&client()?, command).await,
        Command::Node(command) => nodes::run(&client()?, command).await,
        Command::Audit(command) => audit::run(&client()?, command).await,
        Command::Export => export::run(&client()?).await,
        Command::Apply(args) => apply::run(&client()?, args).await,
        Command::Backup(args) => backup::take(args, global).await,
        Command::Restore(args) => backup::restore(args, global).await,
        Command::Db(command) => db::run(command, global).await,
        Command::Healthcheck => healthcheck::run(global).await,
    }
}

/// Prints an error and its causes. What a server or a node says may be in it.
pub(crate) fn failed(error: &dyn Error) -> ExitCode {
    for line in with_causes(error).lines() {
        eprintln!("{}", output::plain(line));
    }
    ExitCode::FAILURE
}

fn with_causes(error: &dyn Error) -> String {
    let mut shown = error.to_string();
    let mut text = format!("cloudly: {shown}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        // Many errors have their cause in their own text.
        if !shown.contains(&why) {
            text.push_str(&format!(": {why}"));
            shown = why;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::desired::{Heal, OnFailure, Policy};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_mistyped_leads_to_what_is_meant() {
        for (written, tip) in [
            (&["nodes"][..], "a similar subcommand exists: 'node'"),
            (&["node", "lsit"], "a similar subcommand exists: 'list'"),
            (&["token", "create", "--use", "2"], "'--uses'"),
        ] {
            let error = command_line()
                .try_get_matches_from([&["cloudly"], written].concat())
                .unwrap_err()
                .to_string();
            assert!(error.contains(tip), "{written:?}: {error}");
        }
    }

    /// The help of a command, its own options and the global ones.
    fn help(path: &[&str]) -> (String, String) {
        let mut command = &mut command_line();
        for name in path {
            command = command.find_subcommand_mut(name).unwrap();
        }
        let help = command.render_help().to_string();
        let (own, global) = help.split_once("Global options:").unwrap();
        (own.to_owned(), global.to_owned())
    }

    #[test]
    fn global_options_stand_apart_and_the_server_has_none_of_a_client() {
        let (own, global) = help(&["desired", "set"]);
        for option in ["--url", "--token-file", "--database-url", "--json"] {
            assert!(
                !own.contains(option) && global.contains(option),
                "{option}: {own}"
            );
        }
        let (own, global) = help(&["serve"]);
        assert!(!(own + &global).contains("--json"));
        assert!(global.contains("--database-url") && !global.contains("--url <"));
    }

    #[test]
    fn the_help_of_a_policy_says_its_defaults() {
        let (own, _) = help(&["desired", "set"]);
        let default = Policy::default();
        assert_eq!(
            (default.on_failure, default.heal),
            (OnFailure::Rollback, Heal::Restart)
        );
        let attempts = format!("from 1 [default: {}]", default.max_attempts);
        let health = format!("[default: {}m]", default.health_seconds / 60);
        for says in [
            &attempts,
            &health,
            "[default: at any time]",
            "[default: rollback]",
            "[default: restart]",
        ] {
            assert!(own.contains(says), "{says}: {own}");
        }
    }
}
