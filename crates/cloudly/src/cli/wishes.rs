//! `cloudly token …`, `cloudly release …` and `cloudly desired …`.

use super::client::Client;
use super::render::{self, dash, short, time, time_or_dash};
use super::{Outcome, pair, seconds};
use baseos_interfaces::admin::{
    CreateJoinToken, CreateRelease, CreatedJoinToken, DesiredRecord, DesiredSet, JoinTokenRecord,
    ReleaseRecord, SetDesired,
};
use baseos_interfaces::desired::{Force, OnFailure, Policy, Service};
use baseos_interfaces::token::TokenKind;
use baseos_interfaces::window::Window;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a join token; it is shown this once
    Create {
        /// How many nodes it enrols
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it lives
        #[arg(long, value_parser = seconds, default_value = "1h")]
        ttl: u32,
        /// The fleet its nodes join
        #[arg(long)]
        fleet: Option<String>,
        /// A label its nodes get, key=value; may be repeated
        #[arg(long, value_parser = pair)]
        label: Vec<(String, String)>,
        /// Its nodes wait for your approval
        #[arg(long)]
        require_approval: bool,
        /// A node with the same hardware gets its earlier identity and history back
        #[arg(long)]
        allow_replace: bool,
        /// Print the token alone
        #[arg(long, short)]
        quiet: bool,
    },
    /// Join tokens, without their secrets
    List,
    /// Make a join token useless from now on
    Revoke {
        /// The token's public id
        id: String,
    },
    /// Make a token for CLOUDLY_BASEOS_JOIN_TOKEN, without asking a server
    Generate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Make a release known
    Create(ReleaseArgs),
    /// Releases, newest first
    List,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("contents").required(true).args(["service", "file"]))]
pub(crate) struct ReleaseArgs {
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

#[derive(Debug, Subcommand)]
pub(crate) enum DesiredCommand {
    /// Set what nodes should run
    Set(Box<DesiredArgs>),
    /// What is desired
    Show {
        /// Of this node (id or name) instead of all
        #[arg(long)]
        node: Option<String>,
    },
    /// Take a node's own setting away, so that the one for all counts again
    Unset {
        /// Id or name
        #[arg(long)]
        node: String,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["commit", "none"]))]
pub(crate) struct DesiredArgs {
    /// The commit of a release
    #[arg(long)]
    commit: Option<String>,
    /// Nothing
    #[arg(long)]
    none: bool,
    /// For this node (id or name) instead of all
    #[arg(long)]
    node: Option<String>,
    /// The policy as a JSON file; the options below win over it
    #[arg(long)]
    policy: Option<PathBuf>,
    /// A maintenance window, `days start length zone`, e.g. "sat,sun 01:00 3h Europe/Berlin" or "daily 02:30 90m UTC"
    #[arg(long, value_parser = window)]
    window: Vec<Window>,
    /// How often a node tries
    #[arg(long)]
    max_attempts: Option<u32>,
    /// How long the release must stay healthy
    #[arg(long, value_parser = seconds)]
    health: Option<u32>,
    /// What a node does with a bad release
    #[arg(long)]
    on_failure: Option<Failure>,
    /// Go ahead despite windows, deferrals and locks, for this reason; it is audited
    #[arg(long, value_name = "REASON")]
    force: Option<String>,
    /// Who forces it
    #[arg(long, env = "USER", default_value = "operator", hide_env = true)]
    by: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Failure {
    Rollback,
    Report,
}

pub(crate) fn generate() -> Outcome {
    render::line(cloudly_baseos::mint(TokenKind::Join)?.expose())
}

pub(crate) async fn token(client: Client, command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create {
            uses,
            ttl,
            fleet,
            label,
            require_approval,
            allow_replace,
            quiet,
        } => {
            let wish = CreateJoinToken {
                max_uses: Some(uses),
                ttl_seconds: Some(ttl),
                fleet,
                labels: label.into_iter().collect(),
                require_approval,
                allow_replace,
            };
            let created: CreatedJoinToken = client.post("join-tokens", &wish).await?;
            if quiet {
                return render::line(created.token.expose());
            }
            if client.json {
                return render::json(&created);
            }
            render::line(created.token.expose())?;
            let nodes = if created.max_uses == 1 {
                "one node".to_owned()
            } else {
                format!("{} nodes", created.max_uses)
            };
            let until = time(created.expires_at);
            render::line(&format!(
                "good for {nodes} until {until}; it is shown this once (id {})",
                created.id
            ))
        }
        TokenCommand::List => {
            let tokens: Vec<JoinTokenRecord> = client.all("join-tokens").await?;
            if client.json {
                return render::json(&tokens);
            }
            let row = |token: &JoinTokenRecord| {
                let uses = format!("{}/{}", token.uses, token.max_uses);
                let (created, expires) = (time(token.created_at), time(token.expires_at));
                vec![
                    token.id.clone(),
                    uses,
                    created,
                    expires,
                    time_or_dash(token.revoked_at),
                ]
            };
            let rows: Vec<_> = tokens.iter().map(row).collect();
            render::table(
                &["ID", "USES", "CREATED", "EXPIRES", "REVOKED"],
                &rows,
                "there are no join tokens",
            )
        }
        TokenCommand::Revoke { id } => {
            let (): () = client.delete(&format!("join-tokens/{id}")).await?;
            render::line(&format!("{id} is revoked"))
        }
        TokenCommand::Generate => generate(),
    }
}

pub(crate) async fn release(client: Client, command: ReleaseCommand) -> Outcome {
    match command {
        ReleaseCommand::Create(args) => {
            let record: ReleaseRecord = client.post("releases", &release_wish(args)?).await?;
            if client.json {
                return render::json(&record);
            }
            render::line(&format!(
                "release {} ({})",
                record.release.commit, record.release.release_id
            ))
        }
        ReleaseCommand::List => {
            let records: Vec<ReleaseRecord> = client.all("releases").await?;
            if client.json {
                return render::json(&records);
            }
            let row = |record: &ReleaseRecord| {
                let release = &record.release;
                let services: Vec<_> = release.services.keys().map(String::as_str).collect();
                let version = release.version.clone().unwrap_or_else(dash);
                vec![
                    release.commit.clone(),
                    version,
                    time(record.created_at),
                    services.join(" "),
                ]
            };
            let rows: Vec<_> = records.iter().map(row).collect();
            render::table(
                &["COMMIT", "VERSION", "CREATED", "SERVICES"],
                &rows,
                "there are no releases",
            )
        }
    }
}

fn release_wish(args: ReleaseArgs) -> Result<CreateRelease, Box<dyn Error>> {
    let mut wish = match &args.file {
        Some(file) => {
            let mut value: serde_json::Value = read(file)?;
            if let (Some(object), Some(commit)) = (value.as_object_mut(), &args.commit) {
                object.insert("commit".to_owned(), commit.as_str().into());
            }
            serde_json::from_value(value).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => CreateRelease {
            commit: args.commit.unwrap_or_default(),
            version: None,
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
        wish.version = args.version;
    }
    Ok(wish)
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

pub(crate) async fn desired(client: Client, command: DesiredCommand) -> Outcome {
    match command {
        DesiredCommand::Set(args) => {
            let args = *args;
            let path = desired_path(&client, args.node.as_deref()).await?;
            let whom = args.node.clone().unwrap_or_else(|| "all nodes".to_owned());
            let wish = SetDesired {
                commit: args.commit.clone(),
                policy: policy(args)?,
            };
            let set: DesiredSet = client.put(&path, &wish).await?;
            if client.json {
                return render::json(&set);
            }
            let what = wish
                .commit
                .map_or_else(|| "nothing".to_owned(), |commit| format!("release {commit}"));
            render::line(&format!(
                "{what} is desired of {whom} (revision {})",
                set.revision
            ))
        }
        DesiredCommand::Show { node } => {
            let record: DesiredRecord = client.get(&desired_path(&client, node.as_deref()).await?).await?;
            if client.json {
                return render::json(&record);
            }
            let (commit, revision) = (short(record.commit.as_deref()), record.revision);
            let own = if record.own {
                "its own setting"
            } else {
                "the setting for all"
            };
            let since = time_or_dash(record.set_at);
            render::line(&format!("{commit} (revision {revision}, {own}, set {since})"))
        }
        DesiredCommand::Unset { node } => {
            let set: DesiredSet = client.delete(&desired_path(&client, Some(&node)).await?).await?;
            if client.json {
                return render::json(&set);
            }
            let revision = set.revision;
            render::line(&format!(
                "what is desired of all counts for {node} again (revision {revision})"
            ))
        }
    }
}

async fn desired_path(client: &Client, node: Option<&str>) -> Result<String, Box<dyn Error>> {
    Ok(match node {
        Some(node) => format!("nodes/{}/desired", client.node_id(node).await?),
        None => "desired".to_owned(),
    })
}

fn policy(args: DesiredArgs) -> Result<Policy, Box<dyn Error>> {
    let mut policy: Policy = match &args.policy {
        Some(file) => read(file)?,
        None => Policy::default(),
    };
    if !args.window.is_empty() {
        policy.windows = args.window;
    }
    if let Some(attempts) = args.max_attempts {
        policy.max_attempts = attempts;
    }
    if let Some(health) = args.health {
        policy.health_seconds = health;
    }
    match args.on_failure {
        Some(Failure::Rollback) => policy.on_failure = OnFailure::Rollback,
        Some(Failure::Report) => policy.on_failure = OnFailure::Report,
        None => {}
    }
    if let Some(reason) = args.force {
        policy.force = Some(Force { by: args.by, reason });
    }
    Ok(policy)
}

fn window(text: &str) -> Result<Window, String> {
    let parts: Vec<_> = text.split_whitespace().collect();
    let [days, start, length, zone] = parts[..] else {
        return Err("use `days start length zone`, e.g. \"sat,sun 01:00 3h Europe/Berlin\"".to_owned());
    };
    let days = if days == "daily" {
        Vec::new()
    } else {
        days.split(',').map(str::to_owned).collect()
    };
    let duration_seconds = seconds(length)?;
    let window = Window {
        days,
        start: start.to_owned(),
        duration_seconds,
        time_zone: zone.to_owned(),
    };
    window.check().map_err(|error| error.to_string())?;
    Ok(window)
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T, Box<dyn Error>> {
    let text = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?)
}
