//! The one builder of a target for an unmanaged Supervisor (architecture §4).
//!
//! `POST /v2/local/target-state` replaces everything: what is left out is removed, a key that is not a decimal
//! number crashes the Supervisor, a changed volume definition wipes the volume. [`LocalTarget`] can only be made
//! by [`plan`], which refuses every release that would do harm; it has no other constructor and is
//! never read back, so no such body can be built, whatever Cloudly says. Source: observed behaviour of
//! Supervisor 19.0.5.

pub(crate) mod guard;

use crate::lifecycle::supervisor_target::ids::TargetRecord;
use crate::lifecycle::update::target::Release;
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::{
    ReleaseParts, StatePlace, Violation, Violations, VolumeDefinition, check_images, check_release,
    state_place,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What keeps the data when the device joins a backend later (observed: cases J3b and J5).
const LOCAL_MODE: &str = "SUPERVISOR_LOCAL_MODE";
/// Would make every later update ignore update locks, so it is never carried over.
const OVERRIDE_LOCK: &str = "SUPERVISOR_OVERRIDE_LOCK";

/// The body of `POST /v2/local/target-state`, in the form the Supervisor takes (v2, compose keys flat).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LocalTarget {
    local: Local,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Local {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    config: BTreeMap<String, String>,
    apps: BTreeMap<u64, App>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct App {
    name: String,
    commit: String,
    release_id: u64,
    services: BTreeMap<u64, Service>,
    volumes: BTreeMap<String, Map<String, Value>>,
    networks: BTreeMap<String, Map<String, Value>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    service_name: String,
    image_id: u64,
    image: String,
    environment: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    #[serde(flatten)]
    composition: Map<String, Value>,
}

impl LocalTarget {
    /// The commit it leads to.
    pub fn commit(&self) -> &str {
        self.local.apps.values().next().map_or("", |app| &app.commit)
    }
}

/// Why a release is not handed to the Supervisor: every reason, at least one. Final: trying again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reasons: Vec<Reason>,
    /// Broken rules that are only counted.
    unlisted: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error(transparent)]
    Rule(#[from] Violation),
    #[error(
        "this agent runs as the service `{0}`, which is not the one that the release says is the agent: applying it would \
         lose the device; name `{0}` in its agentService"
    )]
    AnotherAgent(String),
    #[error(
        "the volume `{0}` exists with another definition: the Supervisor would delete it with its data; keep the \
         definition, or use a volume with another name"
    )]
    VolumeChanged(String),
    #[error(
        "the agent keeps its state in {now}, and the release would give it {then}: the node's identity would be lost; keep \
         the volume and the path of the release that runs"
    )]
    StateMoved { now: StatePlace, then: StatePlace },
    #[error(
        "the Supervisor also runs app {0}, which applying this release would remove: remove that app first, or move its \
         services into the release"
    )]
    OtherApp(u64),
}

impl Refusal {
    /// One line a reason.
    pub(crate) fn evidence(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.reasons.iter().map(Reason::to_string).collect();
        if self.unlisted > 0 {
            lines.push(format!("and {} more", self.unlisted));
        }
        lines
    }
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        Self {
            unlisted: violations.count() - violations.iter().count(),
            reasons: violations.into_iter().map(Reason::Rule).collect(),
        }
    }
}

/// The first reason, and how many more there are.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.reasons.split_first() else {
            return Ok(());
        };
        match more.len() + self.unlisted {
            0 => write!(f, "{first}"),
            more => write!(f, "{first} (and {more} more)"),
        }
    }
}

/// Whether a release ran well on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    New,
    /// It did, and can again, even where the rules have become stricter since.
    Proven,
}

/// Checks a release without changing anything: the rules that Cloudly holds too, and what only this device knows.
///
/// # Errors
/// Every reason why it must not reach the Supervisor.
pub(crate) fn check(
    record: &TargetRecord,
    release: &Release,
    history: History,
    own_service: &str,
) -> Result<(), Refusal> {
    let broken = match history {
        History::New => check_release(release).err().map(Refusal::from),
        History::Proven => None,
    };
    let (mut reasons, unlisted) =
        broken.map_or_else(Default::default, |broken| (broken.reasons, broken.unlisted));
    if release.agent_service() != own_service {
        reasons.push(Reason::AnotherAgent(own_service.to_owned()));
    }
    for (name, definition) in &release.volumes {
        if record.volume_differs(name, &VolumeDefinition::from_compose(definition)) {
            reasons.push(Reason::VolumeChanged(name.clone()));
        }
    }
    let then = ReleaseParts::from(release)
        .services
        .get(own_service)
        .and_then(state_place);
    if let (Some(now), Some(then)) = (record.state_place(), then)
        && *now != then
    {
        let now = now.clone();
        reasons.push(Reason::StateMoved { now, then });
    }
    reasons.extend(record.other_app().map(Reason::OtherApp));
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, unlisted })
}

/// Checks that the Supervisor can tell a new release's images from those the device has had; `before` are further
/// releases that ran here. Not for going back: what ran can be put in place again.
///
/// # Errors
/// Every image that it would take for another one, or would not fetch.
pub(crate) fn check_new_images<'a>(
    record: &'a TargetRecord,
    release: &Release,
    before: impl Iterator<Item = &'a Release>,
) -> Result<(), Refusal> {
    let before = before.flat_map(Release::images_of_release);
    let known: Vec<_> = record.image_uses().chain(before).collect();
    check_images(&release.image_uses(), &known).map_err(Refusal::from)
}

/// Builds the target for a release and remembers its ids and volumes.
///
/// # Errors
/// As [`check`]; nothing is remembered then.
pub(crate) fn plan(
    record: &mut TargetRecord,
    release: &Release,
    history: History,
    own_service: &str,
) -> Result<LocalTarget, Refusal> {
    check(record, release, history, own_service)?;
    let claimed = record.claim(release);
    let services = release.services.iter().filter_map(|(name, service)| {
        let ids = claimed.services.get(name)?;
        let service = Service {
            service_name: name.clone(),
            image_id: ids.image_id,
            image: service.image.clone(),
            environment: service.environment.clone(),
            labels: service.labels.clone(),
            composition: service.composition.clone(),
        };
        Some((ids.service_id, service))
    });
    let app = App {
        name: claimed.app_name.unwrap_or_else(|| "baseos".to_owned()),
        commit: release.commit.clone(),
        release_id: claimed.release_id,
        services: services.collect_tree(),
        volumes: release.volumes.clone(),
        networks: release.networks.clone(),
    };
    let mut config = claimed.config;
    config.remove(OVERRIDE_LOCK);
    config.insert(LOCAL_MODE.to_owned(), "true".to_owned());
    let local = Local {
        name: claimed.device_name,
        config,
        apps: BTreeMap::from([(claimed.app_id, app)]),
    };
    Ok(LocalTarget { local })
}

#[cfg(test)]
mod tests;
