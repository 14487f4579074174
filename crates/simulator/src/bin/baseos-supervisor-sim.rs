//! A simulated Supervisor and device, for use by hand.
#![forbid(unsafe_code)]

use baseos_simulator::device::{Device, DeviceConfig};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Config, Image, Registry, Timing};
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A Supervisor that behaves as the recorded one (balena-supervisor 19.0.5), and a device around it.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// Where the Supervisor listens.
    #[arg(long, default_value = "127.0.0.1:48484")]
    listen: SocketAddr,
    /// Where the control API (/sim/…) listens.
    #[arg(long, default_value = "127.0.0.1:48485")]
    control: SocketAddr,
    /// With a backend: API keys are required, and the target comes from POST /sim/backend-target.
    #[arg(long)]
    managed: bool,
    /// The program that stands for an image, e.g. --program agent:1=target/debug/baserunner. Repeatable.
    #[arg(long = "program", value_name = "IMAGE=PATH", value_parser = image_and_path)]
    programs: Vec<(String, PathBuf)>,
    /// A variable for those programs, e.g. --env BASEOS_CLOUDLY_URL=http://127.0.0.1:8080. Repeatable.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    environment: Vec<(String, String)>,
    /// The device's directory; a temporary one unless given.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// A local target (JSON) to post at the start.
    #[arg(long)]
    target: Option<PathBuf>,
    /// How long things take.
    #[arg(long, value_enum, default_value = "recorded")]
    timing: Speed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speed {
    /// As observed.
    Recorded,
    /// About twenty times faster.
    Fast,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn image_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (image, path) = text.split_once('=').ok_or("write IMAGE=PATH")?;
    let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
    Ok((image.to_owned(), path))
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(run(options)));
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baseos-supervisor-sim: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C, or for SIGTERM, which is what service managers and `kill` send.
async fn stopped(mut terminate: Signal) -> std::io::Result<()> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(options: Options) -> std::io::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let timing = match options.timing {
        Speed::Recorded => Timing::recorded(),
        Speed::Fast => Timing::fast(),
    };
    let mut registry = Registry::default();
    for (image, _) in &options.programs {
        registry = registry.with(image, Image::agent(1000));
    }
    let device = Device::start(DeviceConfig {
        dir: options.state_dir,
        supervisor: Config {
            managed: options.managed,
            timing,
            ..Config::default()
        },
        registry,
        programs_by_image: options.programs.into_iter().collect(),
        environment: options.environment.into_iter().collect(),
        listen: Some(options.listen),
        control: Some(options.control),
        on_line: Some(std::sync::Arc::new(|service: &str, line: &str| {
            println!("{service} | {line}");
        })),
        ..DeviceConfig::default()
    })
    .await?;
    if let Some(file) = options.target {
        let target = Json::parse(&std::fs::read(&file)?).map_err(std::io::Error::other)?;
        println!("posted {}: {:?}", file.display(), device.post_target(&target));
    }
    println!("supervisor {}", device.supervisor_url());
    println!("control    {}/sim/state", device.control_url());
    println!("directory  {}", device.dir().display());
    stopped(terminate).await
}
