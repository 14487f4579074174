//! Runs the command of a command line and returns its exit code.

use crate::adapters::local_api::BindError;
use crate::adapters::store::OpenError;
use crate::agent::{self, AgentError};
use crate::cli::{self, Cli, Command, Console, ExitCode, Flags};
use crate::config::{self, Environment, Overrides, Settings};
use crate::diagnose::OfflineDiagnosis;
use crate::failpoint;
use crate::runtime::replay;
use crate::telemetry::logs;
use crate::telemetry::redact::Redactor;
use baseos_interfaces::rules::GUARD_PROGRAM;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process;

pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let (command, flags) = match Cli::from_args(args.collect::<Vec<_>>()) {
        Ok(cli) => cli.into_parts(),
        Err(code) => return code,
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    // These need no configuration, so they work with an invalid one too.
    match &command {
        Command::Version => return cli::version(&mut Console::standard(&mut out, &mut err)),
        Command::Replay { file } => return replay_file(file),
        _ => {}
    }
    // It must run when the configuration is bad too: that may be why the agent does not.
    if matches!(command, Command::Guard) {
        return run_guard(flags);
    }
    let environment = Environment::of_process();
    failpoint::arm(environment.get(config::FAILPOINT).map(str::to_owned));
    let settings = match config::load(&environment, &overrides(flags)) {
        Ok(settings) => settings,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            return ExitCode::Configuration;
        }
    };
    let runtime = match start_runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    if matches!(command, Command::Run) {
        // As a task: the runtime polls its sockets once more each time the future that it was started with is woken.
        let agent = runtime.spawn(run_agent(settings));
        return runtime.block_on(agent).unwrap_or_else(|error| {
            tracing::error!(%error, "the agent's task ended");
            ExitCode::Internal
        });
    }
    let mut console = Console::standard(&mut out, &mut err);
    let offline = OfflineDiagnosis { settings: &settings };
    let run_dir = &settings.run_dir;
    runtime.block_on(async {
        match command {
            Command::Status { json } => cli::status(run_dir, json, &offline, &mut console).await,
            Command::Doctor { json } => cli::doctor(run_dir, json, &offline, &mut console).await,
            Command::Locks { json } => cli::locks(run_dir, json, &mut console).await,
            Command::Healthcheck => cli::healthcheck(run_dir, &mut console).await,
            Command::Join { token, replace } => {
                cli::join(
                    run_dir,
                    &token,
                    replace,
                    BufReader::new(io::stdin()),
                    &mut console,
                )
                .await
            }
            Command::Config => show_config(&settings),
            Command::Run | Command::Guard | Command::Replay { .. } | Command::Version => ExitCode::Internal,
        }
    })
}

fn start_runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| {
        let _ = writeln!(io::stderr(), "the runtime cannot be started: {error}");
        ExitCode::Internal
    })
}

/// Becomes the guard's program, which lies beside this one: it needs a third of the memory. Returns when that cannot be.
fn run_guard(flags: Flags) -> ExitCode {
    let error = match std::env::current_exe() {
        Ok(program) => process::Command::new(program.with_file_name(GUARD_PROGRAM))
            .envs(overrides(flags).variables())
            .exec(),
        Err(error) => error,
    };
    let _ = writeln!(
        io::stderr(),
        "{GUARD_PROGRAM}, which is to lie beside the agent's program, cannot be run: {error}"
    );
    ExitCode::Internal
}

fn overrides(flags: Flags) -> Overrides {
    Overrides {
        state_dir: flags.state_dir,
        run_dir: flags.run_dir,
        config: flags.config,
        log: flags.log.map(|filter| filter.to_string()),
        log_format: flags.log_format.map(|format| format.to_string()),
    }
}

async fn run_agent(settings: Settings) -> ExitCode {
    let redactor = Redactor::default();
    // The Supervisor gives its containers a terminal that nobody looks at: their output goes into its log.
    let colour = settings.app_id.is_none();
    if let Err(error) = logs::start(settings.log.clone(), settings.log_format, colour, &redactor) {
        let _ = writeln!(io::stderr(), "{error}");
        return ExitCode::Configuration;
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    match agent::run(settings, &redactor).await {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            tracing::error!("{error}");
            match error {
                AgentError::Open(OpenError::InUse { .. }) | AgentError::LocalApi(BindError::InUse { .. }) => {
                    ExitCode::AlreadyRunning
                }
                AgentError::Cloudly(_) | AgentError::Supervisor(_) => ExitCode::Configuration,
                AgentError::Open(_)
                | AgentError::LocalApi(_)
                | AgentError::Dead(_)
                | AgentError::System(_) => ExitCode::Internal,
            }
        }
    }
}

fn show_config(settings: &Settings) -> ExitCode {
    let mut out = io::stdout().lock();
    let width = settings
        .effective()
        .iter()
        .map(|effective| effective.key.len())
        .max()
        .unwrap_or(0);
    for effective in settings.effective() {
        let value = effective.value.as_deref().unwrap_or("-");
        let source = effective
            .source
            .as_ref()
            .map_or_else(|| "not set".to_owned(), |source| source.to_string());
        // A closed pipe does not fail the command.
        if writeln!(out, "{:width$}  {value}  ({source})", effective.key).is_err() {
            break;
        }
    }
    for warning in &settings.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    // The agent starts with it; whoever asks wants to know.
    if settings.problems.is_empty() {
        ExitCode::Ok
    } else {
        ExitCode::Configuration
    }
}

fn replay_file(file: &Path) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = File::open(file)
        .map_err(replay::ReplayError::from)
        .and_then(|journal| {
            replay::replay(BufReader::new(journal), config::check_environment, |line| {
                let _ = writeln!(out, "{line}");
            })
        });
    match result {
        Ok(_) => ExitCode::Ok,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error}", file.display());
            ExitCode::Failed
        }
    }
}
