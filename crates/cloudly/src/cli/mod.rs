//! The command line: arguments, and what each command does with the admin API.

mod client;
mod nodes;
mod render;
mod serve;
mod show;
mod wishes;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a command ends with; an error is a sentence for the one who typed it.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Cloudly's BaseOS manager.
#[derive(Debug, Parser)]
#[command(name = "cloudly", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the server is
    #[arg(
        long,
        env = "CLOUDLY_URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    url: String,
    /// The file with the admin token [default: `admin-token` beside the database]
    #[arg(long, env = "CLOUDLY_ADMIN_TOKEN_FILE", global = true, value_parser = path())]
    token_file: Option<PathBuf>,
    /// The database, `sqlite:<file>`
    #[arg(
        long,
        env = "CLOUDLY_DATABASE_URL",
        default_value = "sqlite:cloudly.db",
        global = true
    )]
    database_url: String,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// The token file that was given; a variable that is set to nothing gives none.
    pub(crate) fn token_file(&self) -> Option<&PathBuf> {
        self.token_file
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<serve::Serve>),
    /// Join tokens: what new nodes enrol with
    #[command(subcommand)]
    Token(wishes::TokenCommand),
    /// App releases
    #[command(subcommand)]
    Release(wishes::ReleaseCommand),
    /// What nodes should run
    #[command(subcommand)]
    Desired(wishes::DesiredCommand),
    /// Nodes
    #[command(subcommand)]
    Node(nodes::NodeCommand),
    /// Who did what
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// The last lines of the audit log, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

/// Does what was asked.
pub(crate) async fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(serve) => serve::run(*serve, &global).await,
        Command::Token(wishes::TokenCommand::Generate) => wishes::generate(),
        Command::Token(command) => wishes::token(client::Client::new(&global)?, command).await,
        Command::Release(command) => wishes::release(client::Client::new(&global)?, command).await,
        Command::Desired(command) => wishes::desired(client::Client::new(&global)?, command).await,
        Command::Node(command) => nodes::node(client::Client::new(&global)?, command).await,
        Command::Audit(AuditCommand::List { limit }) => {
            nodes::audit(&client::Client::new(&global)?, limit).await
        }
    }
}

/// Prints why it did not work, with the causes behind it.
pub(crate) fn failed(error: &dyn Error) -> ExitCode {
    eprint!("cloudly: {error}");
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors repeat their cause in their own words.
        if !shown.contains(&text) {
            eprint!(": {text}");
            shown = text;
        }
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

/// `sqlite:<file>` as a path.
pub(crate) fn database_path(url: &str) -> Result<PathBuf, String> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        let what = if url.starts_with("postgres") {
            "PostgreSQL is not in this version"
        } else {
            "not understood"
        };
        return Err(format!(
            "the database URL is {what}: use sqlite:<file>, e.g. sqlite:cloudly.db"
        ));
    };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.starts_with(':') {
        return Err("the database URL names no file: use sqlite:<file>, e.g. sqlite:cloudly.db".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// A path that may be empty: Compose files set what they leave out to nothing.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `90`, `90s`, `15m`, `24h` or `7d` in seconds.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (&text[..at], unit),
        _ => (text, 's'),
    };
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => 0,
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "use a number with s, m, h or d, e.g. 90s, 15m, 24h or 7d".to_owned())
}

/// `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("use name=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert!(seconds("").is_err());
        assert!(seconds("0h").is_err());
        assert!(seconds("1w").is_err());
        assert!(seconds("99999d").is_err());
        assert!(seconds("ä").is_err());
    }

    #[test]
    fn a_database_url_names_a_file() {
        assert_eq!(database_path("sqlite:cloudly.db"), Ok("cloudly.db".into()));
        assert_eq!(
            database_path("sqlite:///data/cloudly.db"),
            Ok("/data/cloudly.db".into())
        );
        assert!(database_path("sqlite::memory:").is_err());
        assert!(database_path("postgres://db").is_err());
    }
}
