//! The one builder of a target for an unmanaged Supervisor (architecture §4).
//!
//! `POST /v2/local/target-state` replaces everything: what is left out is removed, a key that is not a decimal
//! number crashes the Supervisor, a changed volume definition wipes the volume. [`LocalTarget`] can only be made
//! by [`plan`], which refuses every release that would do harm; it has no other constructor and is
//! never read back, so no such body can be built, whatever Cloudly says. Source: observed behaviour of
//! Supervisor 19.0.5.

use crate::lifecycle::supervisor_target::ids::TargetRecord;
use crate::lifecycle::update::target::Release;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where the agent's state lives unless its release's environment says otherwise.
const DEFAULT_STATE_DIR: &str = "/data/baseos";
/// Without this label the Supervisor does not give the container its address and key.
const SUPERVISOR_API_LABEL: &str = "io.balena.features.supervisor-api";
/// What keeps the data when the device joins a backend later (observed: cases J3b and J5).
const LOCAL_MODE: &str = "SUPERVISOR_LOCAL_MODE";
/// Would make every later update ignore update locks, so it is never carried over.
const OVERRIDE_LOCK: &str = "SUPERVISOR_OVERRIDE_LOCK";
/// Members of a service that are not compose keys.
const RESERVED: [&str; 10] = [
    "image",
    "environment",
    "labels",
    "serviceName",
    "serviceId",
    "imageId",
    "releaseId",
    "appId",
    "commit",
    "imageName",
];

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

/// Why a release is not handed to the Supervisor. Final: trying again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the release has no services: applying it would remove every app on the device")]
    NoServices,
    #[error("the release lacks the service `{0}`, which is this agent: applying it would lose the device")]
    NoOwnService(String),
    #[error(
        "the service `{0}` (this agent) lacks the label {SUPERVISOR_API_LABEL}=1: it could not reach the Supervisor any more"
    )]
    OwnServiceWithoutSupervisor(String),
    #[error("the service `{0}` (this agent) mounts no volume at {1}: the node's identity would be lost")]
    OwnServiceWithoutState(String, String),
    #[error(
        "the commit `{0}` is not lower-case hex with at least one of a-f: the Supervisor cannot work with it"
    )]
    Commit(String),
    #[error(
        "the service `{service}` has no usable image reference (1 to 255 ASCII characters, no white space)"
    )]
    Image { service: String },
    #[error("the service name `{0}` is not one the Supervisor accepts (letters, digits, `-`, `_`)")]
    ServiceName(String),
    #[error("the service `{service}` sets `{key}` in its composition, where it does not belong")]
    ReservedKey { service: String, key: String },
    #[error("the service `{service}` mounts the volume `{volume}`, which the release does not declare")]
    UndeclaredVolume { service: String, volume: String },
    #[error("the volume `{0}` exists with another definition: the Supervisor would delete it with its data")]
    VolumeChanged(String),
    #[error("the Supervisor also runs app {0}, which applying this release would remove")]
    OtherApp(u64),
}

/// Checks a release without changing anything.
///
/// # Errors
/// The reason why it must not reach the Supervisor.
pub(crate) fn check(record: &TargetRecord, release: &Release, own_service: &str) -> Result<(), Refusal> {
    if release.services.is_empty() {
        return Err(Refusal::NoServices);
    }
    let hex = release
        .commit
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hex || !release.commit.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Err(Refusal::Commit(release.commit.clone()));
    }
    let Some(own) = release.services.get(own_service) else {
        return Err(Refusal::NoOwnService(own_service.to_owned()));
    };
    if own.labels.get(SUPERVISOR_API_LABEL).map(String::as_str) != Some("1") {
        return Err(Refusal::OwnServiceWithoutSupervisor(own_service.to_owned()));
    }
    let state_dir = own
        .environment
        .get("BASEOS_STATE_DIR")
        .map_or(DEFAULT_STATE_DIR, String::as_str);
    if !mounts(&own.composition).any(|(_, path)| path.is_some_and(|path| covers(path, state_dir))) {
        return Err(Refusal::OwnServiceWithoutState(
            own_service.to_owned(),
            state_dir.to_owned(),
        ));
    }
    for (name, service) in &release.services {
        let named = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !named {
            return Err(Refusal::ServiceName(name.clone()));
        }
        let image = &service.image;
        if image.is_empty() || image.len() > 255 || !image.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::Image {
                service: name.clone(),
            });
        }
        if let Some(key) = RESERVED
            .iter()
            .find(|key| service.composition.contains_key(**key))
        {
            return Err(Refusal::ReservedKey {
                service: name.clone(),
                key: (*key).to_owned(),
            });
        }
        let undeclared = mounts(&service.composition)
            .map(|(source, _)| source)
            .find(|source| !source.starts_with('/') && !release.volumes.contains_key(*source));
        if let Some(volume) = undeclared {
            return Err(Refusal::UndeclaredVolume {
                service: name.clone(),
                volume: volume.to_owned(),
            });
        }
    }
    for (name, definition) in &release.volumes {
        if record.volume_differs(name, definition) {
            return Err(Refusal::VolumeChanged(name.clone()));
        }
    }
    if let Some(other) = record.other_app() {
        return Err(Refusal::OtherApp(other));
    }
    Ok(())
}

/// Builds the target for a release and remembers its ids and volumes.
///
/// # Errors
/// As [`check`]; nothing is remembered then.
pub(crate) fn plan(
    record: &mut TargetRecord,
    release: &Release,
    own_service: &str,
) -> Result<LocalTarget, Refusal> {
    check(record, release, own_service)?;
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
        services: services.collect(),
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

/// The mounts of a service: source, and the path in the container.
fn mounts(composition: &Map<String, Value>) -> impl Iterator<Item = (&str, Option<&str>)> {
    composition
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| match entry {
            Value::String(short) => {
                let mut parts = short.split(':');
                Some((parts.next()?, parts.next()))
            }
            Value::Object(long) => Some((
                long.get("source")?.as_str()?,
                long.get("target").and_then(Value::as_str),
            )),
            _ => None,
        })
}

fn covers(mount: &str, path: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path == mount || path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
