//! `cargo demo`: Cloudly, a simulated device and the real agent on this machine; an update, a lock, a rollback, and a
//! broken agent that its guard replaces.
#![forbid(unsafe_code)]

mod scenario;
mod screen;

use baseos_simulator::harness::Programs;
use clap::Parser;
use screen::Screen;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Shows BaseOS at work: a device enrols, waits for a local lock, is updated, is rolled back from a bad
/// release, and is brought back by its guard from a broken agent.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// End after the last step, with exit code 0 if every step succeeded.
    #[arg(long)]
    once: bool,
    /// Do not build; use the programs in the directory of this one.
    #[arg(long)]
    no_build: bool,
    /// Another agent than the one that is built here, e.g. of another machine under qemu.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// The cargo to build with; cargo sets it.
    #[arg(long, env = "CARGO", default_value = "cargo", hide = true)]
    cargo: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let screen = Arc::new(Screen::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&options, &screen)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

async fn run(options: &Options, screen: &Arc<Screen>) -> Outcome<()> {
    let here = std::env::current_exe()?;
    let dir = here.parent().unwrap_or_else(|| Path::new("."));
    if !options.no_build {
        screen.step(
            "Building the agent (baserunner) and the control plane (cloudly); the first time takes minutes",
        );
        build(&options.cargo, dir).await?;
    }
    let mut programs = Programs::beside(dir.join("baserunner"))?;
    if let Some(agent) = &options.agent {
        programs.baserunner.clone_from(agent);
    }
    // Whatever ends the scenario, the testbed is dropped: processes end and directories are removed.
    tokio::select! {
        outcome = scenario::run(programs, screen, options.once) => Ok(outcome?),
        () = interrupted() => {
            screen.step("Interrupted: stopping the programs and removing their files");
            // Without --once this is the normal end.
            if options.once { Err("interrupted before the last step".into()) } else { Ok(()) }
        }
    }
}

/// Ctrl-C, SIGTERM, or the end of the terminal.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

async fn build(cargo: &Path, dir: &Path) -> Outcome<()> {
    let mut command = tokio::process::Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "-p",
        "baserunner",
        "-p",
        "cloudly-baseos",
        "--bins",
    ]);
    if dir.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let status = command.kill_on_drop(true).status().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the build failed: {status}").into())
    }
}
