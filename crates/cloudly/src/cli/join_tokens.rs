//! `cloudly token …`.

use super::arguments::pair;
use super::client::{Client, segment};
use super::durations::{MONTH, duration};
use super::output::{self, Outcome, time, time_or_dash};
use baseos_interfaces::admin::{CreateJoinToken, CreatedJoinToken, JoinTokenRecord};
use baseos_interfaces::token::TokenKind;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a join token; it is shown this once
    Create(CreateArgs),
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

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// How many nodes it enrols
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long it lives, from 1s to 30d
    #[arg(long, value_name = "DURATION", value_parser = duration(1, MONTH), default_value = "1h")]
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
    /// A node with the same hardware, in the same fleet, gets its earlier identity and history back, unless it was removed
    #[arg(long)]
    allow_replace: bool,
    /// Print the token alone
    #[arg(long, short)]
    quiet: bool,
}

pub(super) async fn run(client: &Client, command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(args) => create(client, args).await,
        TokenCommand::List => list(client).await,
        TokenCommand::Revoke { id } => {
            let (): () = client.delete(&format!("join-tokens/{}", segment(&id)?)).await?;
            output::line(&format!("{id} is revoked"))
        }
        TokenCommand::Generate => generate(),
    }
}

pub(super) fn generate() -> Outcome {
    output::line(cloudly_baseos::mint(TokenKind::Join)?.expose())
}

async fn create(client: &Client, args: CreateArgs) -> Outcome {
    let request = CreateJoinToken {
        max_uses: Some(args.uses),
        ttl_seconds: Some(args.ttl),
        fleet: args.fleet,
        labels: args.label.into_iter().collect(),
        require_approval: args.require_approval,
        allow_replace: args.allow_replace,
    };
    let created: CreatedJoinToken = client.post("join-tokens", &request).await?;
    if args.quiet {
        return output::line(created.token.expose());
    }
    if client.json {
        return output::json(&created);
    }
    output::line(created.token.expose())?;
    let nodes = match created.max_uses {
        1 => "one node".to_owned(),
        uses => format!("{uses} nodes"),
    };
    let (until, id) = (time(created.expires_at), created.id);
    output::line(&format!(
        "good for {nodes} until {until}; it is shown this once (id {id})"
    ))
}

async fn list(client: &Client) -> Outcome {
    let tokens: Vec<JoinTokenRecord> = client.all("join-tokens").await?;
    let row = |token: &JoinTokenRecord| {
        [
            token.id.clone(),
            format!("{}/{}", token.uses, token.max_uses),
            time(token.created_at),
            time(token.expires_at),
            time_or_dash(token.revoked_at),
        ]
    };
    let headers = ["ID", "USES", "CREATED", "EXPIRES", "REVOKED"];
    output::list(client.json, &tokens, headers, row, "there are no join tokens")
}
