//! A simulated Supervisor and device, for use by hand.
#![forbid(unsafe_code)]

use baseos_simulator::device::{Device, DeviceConfig};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Config, Image, Registry, Reply, Timing};
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A target, as the Supervisor's local API takes it.
const EXAMPLE: &str = r#"{"local": {"name": "edge", "config": {}, "apps": {"1": {
  "name": "baseos", "commit": "a1a1a1a", "releaseId": 1, "volumes": {"baseos": {}}, "networks": {},
  "services": {"1": {"serviceName": "baserunner", "imageId": 1, "image": "agent:1",
    "environment": {}, "volumes": ["baseos:/data/baseos"], "labels": {"io.balena.features.supervisor-api": "1"}}}}}}}"#;

/// Images, as `/sim/images` takes them.
const IMAGES: &str = r#"{"onebox:2": {"run": {"exits": {"afterMillis": 500, "code": 1}}},
      "onebox:3": {"pull": "missing"}, "onebox:4": {"run": "doesNotStart"}}"#;

/// A fault, as `/sim/faults` takes it.
const FAULT: &str =
    r#"{"path": "/v2/local/target-state", "method": "POST", "count": 3, "kind": {"status": {"code": 500}}}"#;

fn after_help() -> String {
    format!(
        "It runs until Ctrl-C or SIGTERM.

The Supervisor's API (--listen), as the real one has it:
  GET  /v2/state/status              what runs, and what is being done
  GET  /v2/local/target-state        the target
  POST /v2/local/target-state        replaces the target
  GET  /v2/local/logs                the log, line by line
  POST /v2/applications/<app>/restart-service, stop-service, start-service
  POST /v1/update, /v1/reboot        and GET /v1/device, /v1/healthy, /ping

The control API (--control):
  GET  /sim/state                    containers, step, boots, commits of the target
  GET  /sim/target                   the target; POST replaces it, as somebody other than the agent
  POST /sim/images                   what images do; one that is not described is fetched and runs
  POST /sim/faults                   sets a fault; DELETE clears all
  POST /sim/down, /sim/up            closes and opens the Supervisor's port
  POST /sim/restart, /sim/crash, /sim/power-cycle, /sim/lose-database
  POST /sim/backend-target           a device's part of a backend's target; makes the device managed
  POST /sim/container/<service>/stop, start, delete
  POST /sim/lock/<app>/<service>     takes an update lock; DELETE releases it
  GET  /sim/requests                 what was asked of the Supervisor; DELETE clears them

An image that crash-loops, one that no registry has, and one that cannot be started:
  curl -s -d '{IMAGES}' \\
      http://127.0.0.1:48485/sim/images
The next three posts of a target are answered 500; hang, slow, dropped, droppedAfter, truncated, garbage,
wrongContentType and unauthorized are other kinds, and without \"count\" a fault stays:
  curl -s -d '{FAULT}' http://127.0.0.1:48485/sim/faults
  curl -s -X DELETE http://127.0.0.1:48485/sim/faults
What the Supervisor is to run:
  curl -s http://127.0.0.1:48485/sim/target
All of it with Cloudly and an agent, step by step: docs/develop/by-hand.md

A target (--target target.json), one app, whose key is its id as a decimal number:
{EXAMPLE}

With it and a program for its image:
  baseos-supervisor-sim --program agent:1=target/debug/baserunner --target target.json &
  curl -s http://127.0.0.1:48484/v2/state/status
  curl -s -H 'content-type: application/json' -d @target.json \\
      http://127.0.0.1:48484/v2/local/target-state"
    )
}

/// A Supervisor that behaves as the recorded one (balena-supervisor 19.0.5), and a device around it, by hand.
///
/// Programs of this machine stand for the containers.
#[derive(Debug, Parser)]
#[command(name = "baseos-supervisor-sim", version, after_help = after_help())]
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
    /// A variable for those programs, e.g. --env BASEOS_CLOUDLY_URL=http://127.0.0.1:8080 --env BASEOS_ALLOW_HTTP=1.
    /// Repeatable.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    environment: Vec<(String, String)>,
    /// The device's directory; a temporary one unless given.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// A target (JSON, see below) to post at the start.
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
    let file = std::fs::metadata(&path).map_err(|error| format!("cannot run {}: {error}", path.display()))?;
    if !file.is_file() || file.permissions().mode() & 0o111 == 0 {
        return Err(format!("cannot run {}: it is no executable file", path.display()));
    }
    Ok((image.to_owned(), path))
}

/// The target in a file.
///
/// The Supervisor takes a body without apps for a target without apps, and ends at an app's key that is no number: a
/// mistake of that kind is told instead.
fn read_target(file: &Path) -> Result<Json, String> {
    let wrong = |what: &str| format!("{}: {what}. A target looks like this:\n{EXAMPLE}", file.display());
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let target = Json::parse(&bytes).map_err(|error| wrong(&format!("this is no JSON ({error})")))?;
    let apps = target.get("local").and_then(|local| local.get("apps"));
    let Some(apps @ Json::Object(_)) = apps else {
        return Err(wrong("it has no object `local.apps`"));
    };
    let is_id = |key: &str| key.parse::<u64>().is_ok_and(|id| id.to_string() == key);
    if let Some((key, _)) = apps.members().iter().find(|(key, _)| !is_id(key)) {
        return Err(wrong(&format!(
            "the app `{key}` has to have its id, a decimal number, as its key"
        )));
    }
    Ok(target)
}

fn post(device: &Device, file: &Path, target: &Json) -> Result<(), String> {
    match device.post_target(target) {
        Reply::Answer(answer) if answer.status == 200 => {
            println!("posted {}", file.display());
            Ok(())
        }
        Reply::Answer(answer) => Err(format!(
            "the Supervisor refuses {} ({}): {}",
            file.display(),
            answer.status,
            answer.body
        )),
        Reply::Dropped => Err(format!("the Supervisor ends at {}", file.display())),
        Reply::Later(_) | Reply::Log => Err(format!("no answer to {}", file.display())),
    }
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
    let target = options
        .target
        .map(|file| read_target(&file).map(|target| (file, target)))
        .transpose()
        .map_err(std::io::Error::other)?;
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
    if let Some((file, target)) = target {
        post(&device, &file, &target).map_err(std::io::Error::other)?;
    }
    println!("supervisor {}", device.supervisor_url());
    println!("control    {}/sim/state", device.control_url());
    println!("directory  {}", device.dir().display());
    stopped(terminate).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_simulator::device::{Fault, FaultKind};
    use std::collections::BTreeMap;

    fn read(text: &str) -> Result<Json, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("target.json");
        std::fs::write(&file, text).unwrap();
        read_target(&file)
    }

    #[test]
    fn a_bad_target_is_refused_with_what_would_be_right() {
        for (text, says) in [
            ("", "this is no JSON"),
            ("{\"local\":", "this is no JSON"),
            ("{}", "it has no object `local.apps`"),
            (r#"{"apps": {"1": {}}}"#, "it has no object `local.apps`"),
            (r#"{"local": {"apps": []}}"#, "it has no object `local.apps`"),
            (
                r#"{"local": {"apps": {"baseos": {}}}}"#,
                "the app `baseos` has to have its id",
            ),
            (
                r#"{"local": {"apps": {"01": {}}}}"#,
                "the app `01` has to have its id",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(says) && error.ends_with(EXAMPLE),
                "{text}: {error}"
            );
        }
        let error = read_target(Path::new("/nowhere.json")).unwrap_err();
        assert!(error.starts_with("cannot read /nowhere.json"), "{error}");
    }

    #[test]
    fn a_program_that_cannot_run_is_refused_at_the_start() {
        for (path, says) in [
            ("/nowhere", "cannot run /nowhere: No such file"),
            ("/etc", "is no executable file"),
            ("/etc/passwd", "is no executable file"),
        ] {
            let error = image_and_path(&format!("agent:1={path}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(image_and_path("agent:1=/bin/sh").is_ok());
    }

    #[test]
    fn the_examples_of_the_help_are_images_and_a_fault() {
        let images: BTreeMap<String, Image> = serde_json::from_str(IMAGES).unwrap();
        assert_eq!(images.len(), 3);
        let fault: Fault = serde_json::from_str(FAULT).unwrap();
        assert_eq!(
            (fault.count, fault.kind),
            (Some(3), FaultKind::Status { code: 500 })
        );
        let help = after_help();
        assert!(help.contains(IMAGES) && help.contains(FAULT), "{help}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let at = |listen, control| DeviceConfig {
            listen,
            control,
            ..DeviceConfig::default()
        };
        for config in [at(Some(address), None), at(None, Some(address))] {
            let error = Device::start(config).await.err().unwrap().to_string();
            assert!(
                error.starts_with(&format!("cannot listen on {address}: ")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn the_example_of_the_help_is_taken_and_a_service_without_an_image_is_not() {
        let device = Device::start(DeviceConfig::default()).await.unwrap();
        let file = Path::new("target.json");
        post(&device, file, &read(EXAMPLE).unwrap()).unwrap();
        let without = EXAMPLE.replace(r#""image": "agent:1","#, "");
        let error = post(&device, file, &read(&without).unwrap()).unwrap_err();
        assert!(
            error.starts_with("the Supervisor refuses target.json (400)"),
            "{error}"
        );
    }
}
