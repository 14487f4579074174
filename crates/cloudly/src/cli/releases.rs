//! `cloudly release …`.

use super::arguments::{from_json, pair, read_json};
use super::client::Client;
use super::output::{self, Outcome, dash, time};
use super::registry::{self, RegistryArgs};
use baseos_interfaces::admin::{CreateRelease, ReleaseRecord};
use baseos_interfaces::agent_variables::unknown_agent_variable;
use baseos_interfaces::desired::{DEFAULT_AGENT_SERVICE, Service};
use baseos_interfaces::members;
use baseos_interfaces::rules::{AGENT_STATE_DIR, SUPERVISOR_API_LABEL};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, json};
use std::error::Error;
use std::path::PathBuf;

/// What a file with a release is.
const RELEASE_FILE: &str =
    "a release as JSON, e.g. {\"commit\": \"77c2a9e1\", \"services\": {\"baserunner\": {\"image\": \"…\"}}}";
/// The named volume that an agent given by `--service` keeps its state in.
const AGENT_VOLUME: &str = "baseos";

#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// Make a release known
    Create(CreateArgs),
    /// Releases, newest first
    List,
}

impl ReleaseCommand {
    pub(super) fn has_file(&self) -> bool {
        matches!(self, Self::Create(args) if args.file.is_some())
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("contents").required(true).args(["service", "file"]))]
pub(super) struct CreateArgs {
    /// The commit: 7 to 64 hex digits with at least one letter
    #[arg(long, required_unless_present = "file")]
    commit: Option<String>,
    /// The version, for people
    #[arg(long)]
    version: Option<String>,
    /// A service, name=image; may be repeated. `baserunner`, the agent, gets the label and the volume it needs
    #[arg(long, value_parser = pair)]
    service: Vec<(String, String)>,
    /// A named volume; may be repeated
    #[arg(long)]
    volume: Vec<String>,
    /// The whole release as JSON (environment, labels and composition too); `--commit` and `--version` win over it
    #[arg(long, conflicts_with_all = ["service", "volume"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) async fn run(client: &Client, command: ReleaseCommand) -> Outcome {
    match command {
        ReleaseCommand::Create(args) => create(client, args).await,
        ReleaseCommand::List => list(client).await,
    }
}

async fn create(client: &Client, args: CreateArgs) -> Outcome {
    let (registry, mut request) = request(args)?;
    for problem in registry::fill_in(&registry, &mut request.services).await? {
        output::warning(&problem);
    }
    for problem in unknown_settings(&request) {
        output::warning(&problem);
    }
    let (created, record): (bool, ReleaseRecord) = client.create("releases", &request).await?;
    if client.json {
        return output::json(&record);
    }
    let release = &record.release;
    let known = if created {
        ""
    } else {
        " exists already, with the same contents"
    };
    output::line(&format!(
        "release {} ({}){known}",
        release.commit, release.release_id
    ))
}

async fn list(client: &Client) -> Outcome {
    let records: Vec<ReleaseRecord> = client.all("releases").await?;
    let row = |record: &ReleaseRecord| {
        let release = &record.release;
        let services: Vec<_> = release.services.keys().map(String::as_str).collect();
        [
            release.commit.clone(),
            release.version.clone().unwrap_or_else(dash),
            time(record.created_at),
            services.join(" "),
        ]
    };
    let headers = ["COMMIT", "VERSION", "CREATED", "SERVICES"];
    output::list(client.json, &records, headers, row, "there are no releases")
}

fn request(args: CreateArgs) -> Result<(RegistryArgs, CreateRelease), Box<dyn Error>> {
    let mut request = match &args.file {
        Some(file) => {
            let mut value = read_json(file, RELEASE_FILE, members::CREATE_RELEASE)?;
            if let (Some(object), Some(commit)) = (value.as_object_mut(), &args.commit) {
                object.insert("commit".to_owned(), commit.as_str().into());
            }
            from_json(file, value)?
        }
        None => {
            let mut request = CreateRelease {
                commit: args.commit.unwrap_or_default(),
                version: None,
                agent_service: None,
                services: args
                    .service
                    .into_iter()
                    .map(|(name, image)| (name, Service::of_image(image)))
                    .collect(),
                volumes: args.volume.into_iter().map(|name| (name, Map::new())).collect(),
                networks: Default::default(),
            };
            equip_agent(&mut request);
            request
        }
    };
    if args.version.is_some() {
        request.version = args.version;
    }
    Ok((args.registry, request))
}

/// The settings that the release gives its agent and that agents ignore, as far as this program knows them.
fn unknown_settings(release: &CreateRelease) -> impl Iterator<Item = String> {
    let name = release.agent_service();
    let agent = release.services.get(name).into_iter();
    let unknown = agent.flat_map(|agent| {
        agent
            .environment
            .keys()
            .filter_map(|key| unknown_agent_variable(key))
    });
    unknown.map(move |problem| format!("in the environment of `{name}`, the agent: {problem}"))
}

/// Gives the agent's service what the rules of a release ask for.
fn equip_agent(release: &mut CreateRelease) {
    let Some(agent) = release.services.get_mut(DEFAULT_AGENT_SERVICE) else {
        return;
    };
    agent
        .labels
        .insert(SUPERVISOR_API_LABEL.to_owned(), "1".to_owned());
    let mount = format!("{AGENT_VOLUME}:{AGENT_STATE_DIR}");
    agent.composition.insert("volumes".to_owned(), json!([mount]));
    release.volumes.entry(AGENT_VOLUME.to_owned()).or_default();
}
