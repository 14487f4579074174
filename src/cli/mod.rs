//! The command line: what can be asked of `baserunner`, and the commands that ask the running agent.
//!
//! Commands return an [`ExitCode`]; nothing here ends the process. What they print is made by pure functions.

mod client;
mod commands;
mod exit;
mod render;

pub use commands::{OneShot, doctor, healthcheck, join, locks, status, version};
pub use exit::ExitCode;
pub use render::Console;

use crate::telemetry::logs::{LogFilter, LogFormat};
use baseos_interfaces::token::WireSecret;
use clap::{Parser, Subcommand};
use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

/// The BaseOS agent: enrols this device in Cloudly, keeps in touch with it, and applies releases through the
/// local Supervisor.
#[derive(Debug, Parser)]
#[command(name = "baserunner", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// Flags every command takes; each takes the place of what the environment and the file say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Directory of what must survive a restart
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory of the local API's socket and token
    #[arg(long, global = true, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log, e.g. `info` or `info,baserunner=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<LogFilter>,
    /// Form of the log: `text` or `json`
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Run the agent (what happens without a command)
    #[default]
    Run,
    /// What the agent is doing, and what holds it back
    Status {
        /// Print JSON, as the local API gives it.
        #[arg(long)]
        json: bool,
    },
    /// What is not as it should be, and what to do about it
    Doctor {
        /// Print JSON, as the local API gives it.
        #[arg(long)]
        json: bool,
    },
    /// Who holds update locks
    Locks {
        /// Print JSON, as the local API gives it.
        #[arg(long)]
        json: bool,
    },
    /// Exit 0 when the agent answers within 3 seconds, else 1
    Healthcheck,
    /// Enrol this node with a join token from Cloudly
    Join {
        /// The join token, or `-` to read it from standard input, where no other process can see it.
        #[arg(value_name = "TOKEN|-", value_parser = secret)]
        token: WireSecret,
        /// Give up the present identity for a new one.
        #[arg(long)]
        replace: bool,
    },
    /// Print the configuration that is in force, and where each value comes from
    Config,
    /// Run a journal through the lifecycle again and print what it decides
    Replay {
        /// The journal.
        file: PathBuf,
    },
    /// Print name, version and target
    Version,
}

// Its `Debug` shows `***`, so a command line may be logged.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn secret(text: &str) -> Result<WireSecret, Infallible> {
    Ok(WireSecret::new(text))
}

impl Cli {
    /// Reads the command line, the program's name first. Help goes to stdout, mistakes go to stderr.
    ///
    /// # Errors
    /// With the code to exit with: help was asked for, or something cannot be understood.
    pub fn from_args<I>(args: I) -> Result<Self, ExitCode>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        Self::try_parse_from(args).map_err(|error| {
            // Nothing to be done when the terminal is gone.
            let _ = error.print();
            if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Ok
            }
        })
    }

    /// What to do, and with which flags.
    pub fn into_parts(self) -> (Command, Flags) {
        (self.command.unwrap_or_default(), self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(args: &[&str]) -> (Command, Flags) {
        Cli::from_args([&["baserunner"], args].concat())
            .unwrap()
            .into_parts()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_agent_runs() {
        assert!(matches!(read(&[]).0, Command::Run));
        assert!(matches!(read(&["run"]).0, Command::Run));
    }

    #[test]
    fn flags_stand_before_or_behind_the_command() {
        for args in [["--run-dir", "/r", "status"], ["status", "--run-dir", "/r"]] {
            let (command, flags) = read(&args);
            assert_eq!(flags.run_dir, Some(PathBuf::from("/r")));
            assert!(matches!(command, Command::Status { json: false }));
        }
        assert_eq!(
            read(&["--log-format", "json"]).1.log_format,
            Some(LogFormat::Json)
        );
    }

    #[test]
    fn a_wrong_flag_is_told_what_would_be_right() {
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
    fn a_token_on_the_command_line_is_not_shown() {
        let (command, _) = read(&["join", "szj_0123456789_secret", "--replace"]);
        assert!(!format!("{command:?}").contains("secret"));
        let Command::Join { token, replace: true } = command.clone() else {
            panic!("{command:?}")
        };
        assert_eq!(token.expose(), "szj_0123456789_secret");
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
