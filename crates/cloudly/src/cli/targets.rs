//! `cloudly desired …`.

use super::arguments::{POLICY_FILE, from_json, read_json};
use super::client::{Client, ClientError};
use super::durations::{DAY, MONTH, WEEK, duration, in_units};
use super::output::{self, Outcome, plain, short, time};
use super::own_settings::not_affected;
use baseos_interfaces::admin::{DesiredRecord, DesiredSet, NodeRecord, SetDesired};
use baseos_interfaces::desired::{Force, Heal, OnFailure, Policy};
use baseos_interfaces::members;
use baseos_interfaces::window::Window;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::Value;
use std::error::Error;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum DesiredCommand {
    /// Set what nodes should run; of the policy, what is not given stays as it is, but for an order to go ahead
    Set(Box<SetArgs>),
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
        /// Only if this is still the revision that `desired show` prints
        #[arg(long, value_name = "NUMBER")]
        if_revision: Option<u64>,
    },
}

impl DesiredCommand {
    pub(super) fn has_file(&self) -> bool {
        matches!(self, Self::Set(args) if args.policy.is_some())
    }
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["commit", "none"]),
    group = ArgGroup::new("whom").required(true).args(["all", "node"]),
)]
pub(super) struct SetArgs {
    /// The commit of a release that was created: 7 to 64 hex digits, in full
    #[arg(long)]
    commit: Option<String>,
    /// No release: what runs goes on, and nothing else is asked
    #[arg(long)]
    none: bool,
    /// For all nodes without a setting of their own
    #[arg(long)]
    all: bool,
    /// For this node (id or name)
    #[arg(long)]
    node: Option<String>,
    /// Only if this is still the revision that `desired show` prints
    #[arg(long, value_name = "NUMBER")]
    if_revision: Option<u64>,
    /// The whole policy as a JSON file, e.g. {"maxAttempts": 5}, in place of the present one; the options below win over it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The default policy in place of the present one; the options below win over it
    #[arg(long, conflicts_with = "policy")]
    default_policy: bool,
    /// A maintenance window, `days start length zone`, e.g. "sat,sun 01:00 3h Europe/Berlin" or "daily 02:30 90m UTC"; may
    /// be repeated [default: at any time]
    #[arg(long, value_parser = window)]
    window: Vec<Window>,
    /// How often a node tries, a number from 1 [default: 3]
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u32>,
    /// How long the release must stay healthy, from 1s to 1d, e.g. 90s or 5m [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = duration(1, DAY))]
    health: Option<u32>,
    /// What a node does with a bad release: goes back to the one before, or waits for you [default: rollback]
    #[arg(long)]
    on_failure: Option<Failure>,
    /// What a node does about a service of the running release that has stopped: starts it, only makes a container that
    /// is gone again, or nothing [default: restart]
    #[arg(long)]
    heal: Option<Healing>,
    /// Hold the update back where it could not be undone [default: apply it]
    #[arg(long)]
    require_rollback: bool,
    /// Go ahead despite windows, deferrals, approval, locks, retry pauses and a missing way back, for this reason; it is
    /// audited
    #[arg(long, value_name = "REASON")]
    force: Option<String>,
    /// How long that order holds, from 1m to 30d [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration(60, MONTH), requires = "force")]
    force_for: Option<u32>,
    /// Who forces it, for the audit
    #[arg(long, env = "USER", default_value = "operator", hide_env = true)]
    by: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Failure {
    Rollback,
    Report,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Healing {
    Restart,
    Repost,
    Report,
}

pub(super) async fn run(client: &Client, command: DesiredCommand) -> Outcome {
    match command {
        DesiredCommand::Set(args) => set(client, *args).await,
        DesiredCommand::Show { node } => show(client, node.as_deref()).await,
        DesiredCommand::Unset { node, if_revision } => unset(client, &node, if_revision).await,
    }
}

async fn set(client: &Client, args: SetArgs) -> Outcome {
    let path = path(client, args.node.as_deref()).await?;
    let whom = args.node.clone().unwrap_or_else(|| "all nodes".to_owned());
    let present: DesiredRecord = client.get(&path).await?;
    // Asked before anything is changed, so that no failure follows the change.
    let not_affected = match args.node {
        None if !client.json => not_affected(&client.all::<NodeRecord>("nodes").await?),
        _ => None,
    };
    // What is replaced is what was seen, by the operator or here.
    let seen = args.if_revision.unwrap_or(present.revision);
    let before = match (&present.commit, present.set_at) {
        (_, None) => String::new(),
        (Some(commit), _) => format!(
            ", in place of {} of revision {}",
            short(Some(commit)),
            present.revision
        ),
        (None, _) => format!(", in place of nothing of revision {}", present.revision),
    };
    let request = SetDesired {
        commit: args.commit.clone(),
        force_ttl_seconds: args.force_for,
        policy: Some(policy(args, present.policy)?),
    };
    let set: DesiredSet = client.put_at(&path, seen, &request).await?;
    if client.json {
        return output::json(&set);
    }
    let release = request
        .commit
        .map_or_else(|| "nothing".to_owned(), |commit| format!("release {commit}"));
    let revision = set.revision;
    output::line(&format!(
        "{release} is desired of {whom} (revision {revision}{before})"
    ))?;
    not_affected.iter().try_for_each(|text| output::line(text))
}

async fn show(client: &Client, node: Option<&str>) -> Outcome {
    let record: DesiredRecord = client.get(&path(client, node).await?).await?;
    if client.json {
        return output::json(&record);
    }
    let Some(set_at) = record.set_at else {
        let whom = node.unwrap_or("all nodes");
        return output::line(&format!("nothing is desired of {whom}; never set"));
    };
    let revision = record.revision;
    let commit = match &record.commit {
        Some(commit) => short(Some(commit)),
        None => "nothing".to_owned(),
    };
    let own = if record.own {
        "its own setting"
    } else {
        "the setting for all"
    };
    output::line(&format!(
        "{commit} (revision {revision}, {own}, set {})",
        time(set_at)
    ))?;
    let rows = policy_rows(&record.policy)?;
    rows.iter()
        .try_for_each(|(name, value)| output::line(&format!("  {name:<20} {}", plain(value))))
}

/// The members of a policy that differ from their defaults, by the names that they have in a file.
fn policy_rows(policy: &Policy) -> Result<Vec<(String, String)>, serde_json::Error> {
    let (policy, default) = (json_of(policy)?, json_of(&Policy::default())?);
    let mut rows = Vec::new();
    for (name, value) in policy {
        if default.get(&name) == Some(&value) {
            continue;
        }
        match name.as_str() {
            "windows" => {
                let windows: Vec<Window> = serde_json::from_value(value)?;
                rows.extend(windows.iter().map(|window| (name.clone(), window_text(window))));
            }
            "force" => {
                let Force {
                    by,
                    reason,
                    expires_at,
                } = serde_json::from_value(value)?;
                let until = expires_at.map_or_else(String::new, |at| format!(", until {}", time(at)));
                rows.push((name, format!("by {by}{until}: {reason}")));
            }
            _ => rows.push((
                name,
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )),
        }
    }
    Ok(rows)
}

fn json_of(policy: &Policy) -> Result<serde_json::Map<String, Value>, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(policy)?)
}

/// As `--window` takes it.
fn window_text(window: &Window) -> String {
    let days = if window.days.is_empty() {
        "daily".to_owned()
    } else {
        window.days.join(",")
    };
    let length = in_units(window.duration_seconds);
    format!("{days} {} {length} {}", window.start, window.time_zone)
}

async fn unset(client: &Client, node: &str, if_revision: Option<u64>) -> Outcome {
    let path = path(client, Some(node)).await?;
    let set: DesiredSet = client.delete_at(&path, if_revision).await?;
    if client.json {
        return output::json(&set);
    }
    let revision = set.revision;
    output::line(&format!(
        "what is desired of all counts for {node} again (revision {revision})"
    ))
}

async fn path(client: &Client, node: Option<&str>) -> Result<String, ClientError> {
    Ok(match node {
        Some(node) => format!("nodes/{}/desired", client.node_id(node).await?),
        None => "desired".to_owned(),
    })
}

/// The policy that is asked for, whose other members are as they are.
fn policy(args: SetArgs, present: Policy) -> Result<Policy, Box<dyn Error>> {
    let mut policy: Policy = match &args.policy {
        Some(file) => from_json(file, read_json(file, POLICY_FILE, members::POLICY)?)?,
        None if args.default_policy => Policy::default(),
        None => Policy {
            force: None,
            ..present
        },
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
    match args.heal {
        Some(Healing::Restart) => policy.heal = Heal::Restart,
        Some(Healing::Repost) => policy.heal = Heal::Repost,
        Some(Healing::Report) => policy.heal = Heal::Report,
        None => {}
    }
    policy.require_rollback |= args.require_rollback;
    if let Some(reason) = args.force {
        policy.force = Some(Force {
            by: args.by,
            reason,
            expires_at: None,
        });
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
    let duration_seconds =
        duration(1, WEEK)(length).map_err(|error| format!("length `{length}`: {error}"))?;
    let window = Window {
        days,
        start: start.to_owned(),
        duration_seconds,
        time_zone: zone.to_owned(),
    };
    window.check().map_err(|error| error.to_string())?;
    Ok(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_printed_as_the_option_takes_it() {
        for text in [
            "sat,sun 01:00 3h Europe/Berlin",
            "daily 02:30 90m UTC",
            "mon 02:30 61s UTC",
        ] {
            assert_eq!(window_text(&window(text).unwrap()), text);
        }
    }

    #[test]
    fn a_policy_shows_what_differs_from_the_defaults_and_who_forces_it() {
        assert_eq!(policy_rows(&Policy::default()).unwrap(), []);
        let policy = Policy {
            max_attempts: 9,
            on_failure: OnFailure::Report,
            require_local_approval: true,
            force: Some(Force {
                by: "ada".to_owned(),
                reason: "urgent".to_owned(),
                expires_at: Some("2026-11-24T12:00:00Z".parse().unwrap()),
            }),
            ..Policy::default()
        };
        let rows: Vec<_> = policy_rows(&policy)
            .unwrap()
            .into_iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        assert_eq!(
            rows,
            [
                "force by ada, until 2026-11-24T12:00:00Z: urgent",
                "maxAttempts 9",
                "onFailure report",
                "requireLocalApproval true"
            ]
        );
    }
}
