//! `cloudly release …`.

use super::arguments::{pair, read_json};
use super::client::Client;
use super::output::{self, Outcome, dash, time};
use baseos_interfaces::admin::{CreateRelease, ReleaseRecord};
use baseos_interfaces::desired::Service;
use clap::{ArgGroup, Args, Subcommand};
use std::error::Error;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// Make a release known
    Create(CreateArgs),
    /// Releases, newest first
    List,
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
    /// A service, name=image; may be repeated
    #[arg(long, value_parser = pair)]
    service: Vec<(String, String)>,
    /// A named volume; may be repeated
    #[arg(long)]
    volume: Vec<String>,
    /// The whole release as JSON (environment, labels and composition too); `--commit` and `--version` win over it
    #[arg(long, conflicts_with_all = ["service", "volume"])]
    file: Option<PathBuf>,
}

pub(super) async fn run(client: &Client, command: ReleaseCommand) -> Outcome {
    match command {
        ReleaseCommand::Create(args) => create(client, args).await,
        ReleaseCommand::List => list(client).await,
    }
}

async fn create(client: &Client, args: CreateArgs) -> Outcome {
    let record: ReleaseRecord = client.post("releases", &request(args)?).await?;
    if client.json {
        return output::json(&record);
    }
    let release = &record.release;
    output::line(&format!("release {} ({})", release.commit, release.release_id))
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

fn request(args: CreateArgs) -> Result<CreateRelease, Box<dyn Error>> {
    let mut request = match &args.file {
        Some(file) => {
            let mut value: serde_json::Value = read_json(file)?;
            if let (Some(object), Some(commit)) = (value.as_object_mut(), &args.commit) {
                object.insert("commit".to_owned(), commit.as_str().into());
            }
            serde_json::from_value(value).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => CreateRelease {
            commit: args.commit.unwrap_or_default(),
            version: None,
            agent_service: None,
            services: args
                .service
                .into_iter()
                .map(|(name, image)| (name, service(image)))
                .collect(),
            volumes: args
                .volume
                .into_iter()
                .map(|name| (name, serde_json::Map::new()))
                .collect(),
            networks: Default::default(),
        },
    };
    if args.version.is_some() {
        request.version = args.version;
    }
    Ok(request)
}

fn service(image: String) -> Service {
    Service {
        image,
        environment: Default::default(),
        labels: Default::default(),
        composition: Default::default(),
        size_bytes: None,
    }
}
