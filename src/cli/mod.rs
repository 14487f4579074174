//! The command line and the commands that call the running agent.
//!
//! Commands return an [`ExitCode`]; none ends the process.

mod client;
mod commands;
mod console;
mod exit;
mod render;

pub use commands::{OfflineChecks, doctor, healthcheck, join, locks, status, version};
pub use console::Console;
pub use exit::ExitCode;

use crate::telemetry::logs::{LogFilter, LogFormat};
use baseos_interfaces::suggest::closest;
use baseos_interfaces::token::WireSecret;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The BaseOS agent: enrols this device in Cloudly, keeps in touch with it, and applies releases through the
/// local Supervisor. Without a command it runs the agent.
#[derive(Debug, Parser)]
#[command(name = "baserunner", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// The flags of every command; each overrides the environment and the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Directory of the state that survives a restart [default: /data/baseos]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory of the local API's socket and token [default: /run/baserunner]
    #[arg(long, global = true, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Configuration file, which need not exist [default: /data/baseos/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log, e.g. `warn` or `info,baserunner=debug` [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<LogFilter>,
    /// Form of the log: `text` or `json` [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Run the agent; so does `baserunner` without a command
    #[default]
    Run,
    /// Run the guard of the agent's own update; agents add it to the device's services themselves
    Guard,
    /// What the agent is doing, and what blocks it
    Status {
        /// Print JSON, as in the local API.
        #[arg(long)]
        json: bool,
    },
    /// What is wrong, and how to fix it
    Doctor {
        /// Print JSON, as in the local API.
        #[arg(long)]
        json: bool,
    },
    /// Who holds update locks
    Locks {
        /// Print JSON, as in the local API.
        #[arg(long)]
        json: bool,
    },
    /// Exit 0 when the agent answers within 3 seconds, else 1
    Healthcheck,
    /// Enrol this node with a join token from Cloudly
    Join {
        /// The join token, or `-` to read it from standard input, which hides it from other processes.
        #[arg(value_name = "TOKEN|-", value_parser = secret)]
        token: WireSecret,
        /// Replace the node's current identity by a new one.
        #[arg(long)]
        replace: bool,
    },
    /// Print the effective configuration, and where each value comes from
    Config,
    /// Feed a journal to the lifecycle again and print what it decides
    Replay {
        /// The journal.
        file: PathBuf,
    },
    /// Print name, version and target
    Version,
}

// The `Debug` of a `WireSecret` is `***`, so a parsed command line may be logged.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn secret(text: &str) -> Result<WireSecret, Infallible> {
    Ok(WireSecret::new(text))
}

impl Cli {
    /// Parses the command line, the program's name first. Help is printed to stdout, errors to stderr.
    ///
    /// # Errors
    /// The exit code, when help was requested or the command line is invalid.
    pub fn from_args<I>(args: I) -> Result<Self, ExitCode>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        Self::try_parse_from(&args).map_err(|error| {
            let error = with_suggestion(error, &args);
            // If the message cannot be printed, the exit code remains.
            let _ = error.print();
            if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Ok
            }
        })
    }

    pub fn into_parts(self) -> (Command, Flags) {
        (self.command.unwrap_or_default(), self.flags)
    }
}

/// Says which command or option may be meant. The suggestions of clap would add to the size of the program.
fn with_suggestion(mut error: clap::Error, args: &[impl AsRef<OsStr>]) -> clap::Error {
    let command = Cli::command();
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidArg)
        && let Some(near) = similar_option(written, &command, args)
    {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(near));
        return error;
    }
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let (kind, tip) = match closest(written, names.iter().copied()) {
        Some(near) => (
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(vec![near.to_owned()]),
        ),
        None => {
            let tip = format!("the commands are {}", names.join(", "));
            (ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]))
        }
    };
    error.insert(kind, tip);
    error
}

/// Of those that the command takes which these arguments name.
fn similar_option(written: &str, command: &clap::Command, args: &[impl AsRef<OsStr>]) -> Option<String> {
    let name = written.strip_prefix("--")?;
    let named = args.iter().find_map(|arg| command.find_subcommand(arg.as_ref()));
    let options = command
        .get_arguments()
        .chain(named.into_iter().flat_map(clap::Command::get_arguments));
    let near = closest(name, options.filter_map(clap::Arg::get_long).chain(["help"]))?;
    Some(format!("--{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> (Command, Flags) {
        Cli::from_args([&["baserunner"], args].concat())
            .unwrap()
            .into_parts()
    }

    #[test]
    fn the_clap_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_agent_runs() {
        assert!(matches!(parse(&[]).0, Command::Run));
        assert!(matches!(parse(&["run"]).0, Command::Run));
    }

    #[test]
    fn flags_are_accepted_before_and_after_the_command() {
        for args in [["--run-dir", "/r", "status"], ["status", "--run-dir", "/r"]] {
            let (command, flags) = parse(&args);
            assert_eq!(flags.run_dir, Some(PathBuf::from("/r")));
            assert!(matches!(command, Command::Status { json: false }));
        }
        assert_eq!(
            parse(&["--log-format", "json"]).1.log_format,
            Some(LogFormat::Json)
        );
    }

    #[test]
    fn an_invalid_flag_value_is_refused_with_the_expected_form() {
        let error = Cli::try_parse_from(["baserunner", "--log", "inof"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("baserunner=debug"), "{error}");
        assert!(matches!(
            Cli::from_args(["baserunner", "--no-such"]),
            Err(ExitCode::Usage)
        ));
    }

    #[test]
    fn a_command_that_is_not_known_leads_to_the_one_that_is_meant_or_to_all() {
        for (written, tip) in [
            ("statsu", "a similar subcommand exists: 'status'"),
            ("dcotor", "a similar subcommand exists: 'doctor'"),
            ("xyzzy", "the commands are run, guard, status, doctor, locks"),
        ] {
            let error = with_suggestion(
                Cli::try_parse_from(["baserunner", written]).unwrap_err(),
                &[written],
            );
            let text = error.to_string();
            assert!(text.contains(&format!("tip: {tip}")), "{text}");
            assert!(text.contains("Usage: baserunner"), "{text}");
        }
    }

    #[test]
    fn an_option_that_is_not_known_leads_to_the_one_of_the_command_that_is_meant() {
        for (written, args, near) in [
            ("--stat-dir", &["--stat-dir", "/s"][..], Some("--state-dir")),
            ("--rundir", &["status", "--rundir=/r"], Some("--run-dir")),
            ("--jsno", &["--run-dir", "/r", "status", "--jsno"], Some("--json")),
            ("--replce", &["join", "-", "--replce"], Some("--replace")),
            ("--hepl", &["doctor", "--hepl"], Some("--help")),
            ("--json", &["join", "-", "--json"], None),
            ("--xyzzy", &["--xyzzy"], None),
            ("-x", &["-x"], None),
        ] {
            let args = [&["baserunner"], args].concat();
            // With its own suggestions, which the crates beside this one have, clap may say it besides.
            let error = with_suggestion(Cli::try_parse_from(&args).unwrap_err(), &args);
            let found = similar_option(written, &Cli::command(), &args);
            assert_eq!(found.as_deref(), near, "{args:?}");
            let tip = near.map(|near| format!("tip: a similar argument exists: '{near}'"));
            assert!(tip.is_none_or(|tip| error.to_string().contains(&tip)), "{error}");
        }
        let bad_value = Cli::try_parse_from(["baserunner", "--log", "inof"]).unwrap_err();
        let error = with_suggestion(bad_value, &["--log"]).to_string();
        assert!(!error.contains("similar"), "{error}");
    }

    #[test]
    fn a_token_on_the_command_line_is_not_shown() {
        let (command, _) = parse(&["join", "szj_0123456789_secret", "--replace"]);
        assert!(!format!("{command:?}").contains("secret"));
        let Command::Join { token, replace: true } = command.clone() else {
            panic!("{command:?}")
        };
        assert_eq!(token.expose(), "szj_0123456789_secret");
    }

    #[test]
    fn help_says_that_the_agent_runs_without_a_command_and_names_the_defaults() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("Without a command it runs the agent"), "{help}");
        assert!(help.contains("`baserunner config`"), "{help}");
        for spec in crate::config::SPECS.iter().filter(|spec| spec.flag.is_some()) {
            let (flag, default) = (spec.flag.unwrap(), spec.default.unwrap());
            let option = help.split(flag).nth(1).unwrap();
            let option = option.split("--").next().unwrap();
            assert!(
                option.contains(&format!("[default: {default}]")),
                "{flag}: {help}"
            );
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for code in ExitCode::ALL {
            assert!(
                help.contains(&format!("\n  {:>2}  ", code as u8)),
                "{code:?} in {help}"
            );
        }
    }
}
