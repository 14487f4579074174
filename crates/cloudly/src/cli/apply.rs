//! `cloudly apply FILE`: makes releases and targets be as a file of `cloudly export` says. What it does not name stays.

use super::arguments::{from_json, read_json_up_to};
use super::client::{Client, segment};
use super::export::{Export, FORM, Setting};
use super::output::{self, Outcome, short};
use baseos_interfaces::admin::{
    CreateRelease, DesiredRecord, DesiredSet, NodeRecord, ReleaseRecord, SetDesired,
};
use baseos_interfaces::members::{self, Shape};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;

/// What the file is.
const EXPORT_FILE: &str =
    "what `cloudly export` prints, or a part of it, e.g. {\"cloudlyExport\": 1, \"releases\": []}";
/// More than a thousand releases.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

const EXPORT: Shape = Shape::Object(&[
    ("cloudlyExport", Shape::Any),
    ("releases", Shape::Each(&members::CREATE_RELEASE)),
    ("desired", DESIRED),
    ("joinTokens", Shape::Any),
]);
const DESIRED: Shape = Shape::Object(&[
    (
        "all",
        Shape::Object(&[("commit", Shape::Any), ("policy", members::POLICY)]),
    ),
    ("nodes", Shape::Each(&NODE)),
]);
const NODE: Shape = Shape::Object(&[
    ("node", Shape::Any),
    ("name", Shape::Any),
    ("commit", Shape::Any),
    ("policy", members::POLICY),
]);

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// What `cloudly export` printed, or a part of it
    file: PathBuf,
    /// Say what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// One thing to do, which changes something.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "camelCase")]
enum Step {
    CreateRelease {
        #[serde(skip)]
        release: Box<CreateRelease>,
        commit: String,
    },
    SetDesired {
        whom: String,
        #[serde(skip)]
        path: String,
        /// Only while this is there.
        revision: u64,
        from: Option<Box<Setting>>,
        to: Box<Setting>,
    },
}

pub(super) async fn run(client: &Client, args: ApplyArgs) -> Outcome {
    let file = read_json_up_to(&args.file, EXPORT_FILE, EXPORT, FILE_MAX_BYTES)?;
    let export: Export = from_json(&args.file, file)?;
    if export.cloudly_export != FORM {
        return Err(format!(
            "{} has form {}, and this cloudly knows form {FORM}: use the cloudly that exported it",
            args.file.display(),
            export.cloudly_export
        )
        .into());
    }
    // Everything is looked at before anything is changed.
    let steps = plan(client, &export).await?;
    if !args.dry_run {
        for step in &steps {
            carry_out(client, step).await?;
        }
    }
    if client.json {
        return output::json(&steps);
    }
    if steps.is_empty() {
        return output::line("everything is as the file says");
    }
    let done = if args.dry_run { "would " } else { "" };
    steps
        .iter()
        .try_for_each(|step| output::line(&format!("{done}{}", in_words(step))))
}

async fn plan(client: &Client, export: &Export) -> Result<Vec<Step>, Box<dyn Error>> {
    let known: Vec<ReleaseRecord> = client.all("releases").await?;
    let known: BTreeMap<_, CreateRelease> = known
        .into_iter()
        .map(|record| (record.release.commit.clone(), record.release.into()))
        .collect();
    let mut steps = Vec::new();
    for release in &export.releases {
        let commit = release.commit.clone();
        match known.get(&commit) {
            Some(known) if same(release, known) => {}
            Some(_) => {
                return Err(format!(
                    "there is a release with commit {commit} and other contents; a commit never changes its contents. Nothing was \
                     changed"
                )
                .into());
            }
            None => steps.push(Step::CreateRelease {
                release: Box::new(release.clone()),
                commit,
            }),
        }
    }
    let releases = known
        .keys()
        .chain(export.releases.iter().map(|release| &release.commit));
    let releases: BTreeSet<_> = releases.map(String::as_str).collect();
    let mut settings = Vec::new();
    if !export.desired.nodes.is_empty() {
        let nodes: Vec<NodeRecord> = client.all("nodes").await?;
        for wanted in &export.desired.nodes {
            let node = find(&nodes, &wanted.node)?;
            let path = format!("nodes/{}/desired", segment(&node.id)?);
            settings.push((
                format!("{} ({})", node.name, node.id),
                path,
                wanted.setting.clone(),
            ));
        }
    }
    // The last one: it changes the revision of nodes without a setting of their own.
    if let Some(all) = &export.desired.all {
        settings.push(("all nodes".to_owned(), "desired".to_owned(), all.clone()));
    }
    for (whom, path, to) in settings {
        if to.policy.as_ref().is_some_and(|policy| policy.force.is_some()) {
            return Err(format!(
                "the policy of {whom} has a `force`, which is for once: use `cloudly desired set --force`. Nothing was changed"
            )
            .into());
        }
        if let Some(commit) = to.commit.as_deref().filter(|commit| !releases.contains(commit)) {
            return Err(format!(
                "release {commit} is desired of {whom}, and neither Cloudly nor the file has it. Nothing was changed"
            )
            .into());
        }
        let present: DesiredRecord = client.get(&path).await?;
        let revision = present.revision;
        // A node without a setting of its own gets one, whatever counts for all.
        let is_own = path == "desired" || present.own;
        let from = Setting::of(present).filter(|_| is_own);
        if !from.as_ref().is_some_and(|from| is_met(from, &to)) {
            steps.push(Step::SetDesired {
                whom,
                path,
                revision,
                from: from.map(Box::new),
                to: Box::new(to),
            });
        }
    }
    Ok(steps)
}

/// Whether both have the same contents; what registries say of images may be known on one side alone.
fn same(one: &CreateRelease, other: &CreateRelease) -> bool {
    let plain = |release: &CreateRelease| {
        let mut plain = release.clone();
        plain.agent_service = Some(release.agent_service().to_owned());
        for service in plain.services.values_mut() {
            service.platforms.clear();
        }
        plain
    };
    plain(one) == plain(other)
}

/// Whether what counts is what is wanted.
fn is_met(from: &Setting, to: &Setting) -> bool {
    let policy = to.policy.as_ref();
    from.commit == to.commit && policy.is_none_or(|policy| from.policy.as_ref() == Some(policy))
}

fn find<'a>(nodes: &'a [NodeRecord], wanted: &str) -> Result<&'a NodeRecord, String> {
    if let Some(node) = nodes.iter().find(|node| node.id == wanted) {
        return Ok(node);
    }
    let named = nodes
        .iter()
        .filter(|node| node.name == wanted && node.lifecycle != "removed");
    match named.collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => Err(format!(
            "there is no node `{wanted}`: `cloudly node list` has them. Nothing was changed"
        )),
        _ => Err(format!(
            "several nodes are named `{wanted}`: use the id. Nothing was changed"
        )),
    }
}

async fn carry_out(client: &Client, step: &Step) -> Result<(), Box<dyn Error>> {
    match step {
        Step::CreateRelease { release, .. } => {
            let _: (bool, ReleaseRecord) = client.create("releases", release).await?;
        }
        Step::SetDesired {
            path, revision, to, ..
        } => {
            let request = SetDesired {
                commit: to.commit.clone(),
                policy: to.policy.clone(),
                force_ttl_seconds: None,
            };
            let _: DesiredSet = client.put_at(path, *revision, &request).await?;
        }
    }
    Ok(())
}

fn in_words(step: &Step) -> String {
    let release = |setting: &Setting| match &setting.commit {
        Some(commit) => format!("release {}", short(Some(commit))),
        None => "nothing".to_owned(),
    };
    match step {
        Step::CreateRelease { commit, .. } => format!("create release {commit}"),
        Step::SetDesired { whom, from, to, .. } => {
            let from = match from {
                Some(from) if from.commit == to.commit => "another policy".to_owned(),
                Some(from) => release(from),
                None => "no setting".to_owned(),
            };
            format!("desire {} of {whom}, in place of {from}", release(to))
        }
    }
}
