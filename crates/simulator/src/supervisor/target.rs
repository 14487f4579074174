//! Target states: what they hold, and how the Supervisor reads a posted one (recordings u05-body-matrix).

use crate::json::{Json, order_as_javascript};
use crate::supervisor::validate;
use std::collections::BTreeMap;

/// What the device is meant to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The device's name; `None`: as it was.
    pub name: Option<String>,
    /// Configuration variables as posted.
    pub config: Vec<(String, String)>,
    /// The apps, lowest id first.
    pub apps: Vec<App>,
}

/// One app.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its id.
    pub id: u64,
    /// Its uuid; in a local target the id as text.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The release's commit; `None`: no release, so nothing runs.
    pub commit: Option<String>,
    /// The release's id.
    pub release_id: u64,
    /// Its services.
    pub services: Vec<Service>,
    /// Named volumes and their definitions.
    pub volumes: Vec<(String, Json)>,
}

/// One service of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The image's id.
    pub image_id: u64,
    /// What decides whether a container can stay.
    pub config: ServiceConfig,
}

/// What a container is made from: when it is equal, a new release only renames the container. The order of members
/// does not count.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The image reference.
    pub image: String,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// All other keys (`volumes`, `network_mode`, `restart` …).
    pub composition: Vec<(String, Json)>,
}

impl PartialEq for ServiceConfig {
    fn eq(&self, other: &Self) -> bool {
        let sorted =
            |list: &[(String, String)]| -> BTreeMap<String, String> { list.iter().cloned().collect() };
        let composition = |config: &Self| Json::Object(config.composition.clone());
        self.image == other.image
            && sorted(&self.environment) == sorted(&other.environment)
            && sorted(&self.labels) == sorted(&other.labels)
            && composition(self).is_same(&composition(other))
    }
}

impl ServiceConfig {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn compose(&self, name: &str) -> Option<&Json> {
        self.composition
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The restart policy; balena's default is `always`.
    pub(crate) fn restart(&self) -> &str {
        self.compose("restart").and_then(Json::as_str).unwrap_or("always")
    }

    /// Names of the services it depends on, from either form of `depends_on`.
    pub(crate) fn depends_on(&self) -> Vec<String> {
        match self.compose("depends_on") {
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Some(Json::Object(names)) => names.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Names of the volumes it uses.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.compose("volumes")
            .map(Json::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Json::as_str)
            .filter_map(|volume| volume.split_once(':'))
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with('/'))
    }
}

/// What becomes of a post that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The whole Supervisor process ends (u05-crash.log).
    Crash,
    /// 400 with this message.
    Invalid(String),
}

/// Reads the body of `POST /v2/local/target-state`.
///
/// Whatever has no object under `local` (an empty body, `{"local":null}`, a v3 body) is a target without apps.
///
/// # Errors
/// As the real one: a crash for an app key that is not a canonical decimal number, a text for the rest.
pub fn read_local(body: &Json, device_uuid: &str) -> Result<Target, Refusal> {
    let local = body.get("local").cloned().unwrap_or(Json::Null);
    let v3 = local_to_v3(&local)?;
    let mut target = read_v3(&v3, device_uuid).map_err(Refusal::Invalid)?;
    if local.get("name").is_none() {
        target.name = None;
    }
    Ok(target)
}

/// Reads a device's part of a v3 target, the form a backend serves.
///
/// # Errors
/// The text the Supervisor gives, naming each member that is wrong.
pub fn read_v3(device: &Json, device_uuid: &str) -> Result<Target, String> {
    let errors = validate::v3(device, device_uuid);
    if !errors.is_empty() {
        return Err(format!("Invalid target state.\n{}", errors.join("\n")));
    }
    let texts = |value: Option<&Json>| -> Vec<(String, String)> {
        let text = |(key, value): &(String, Json)| Some((key.clone(), value.as_str()?.to_owned()));
        value
            .map(Json::members)
            .unwrap_or_default()
            .iter()
            .filter_map(text)
            .collect()
    };
    let members = |value: Option<&Json>| value.map(Json::members).unwrap_or_default().to_vec();
    let id = |value: &Json, name: &str| value.get(name).and_then(Json::as_id).unwrap_or(0);
    let text = |value: &Json, name: &str| {
        value
            .get(name)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut apps: Vec<App> = members(device.get("apps"))
        .iter()
        .map(|(uuid, app)| {
            // Exactly one release an app: the first key wins.
            let release = members(app.get("releases")).into_iter().next();
            let body = release.as_ref().map_or(Json::Null, |(_, body)| body.clone());
            let services = members(body.get("services"));
            App {
                id: id(app, "id"),
                uuid: uuid.clone(),
                name: text(app, "name"),
                commit: release.as_ref().map(|(commit, _)| commit.clone()),
                release_id: id(&body, "id"),
                services: services
                    .iter()
                    .map(|(name, service)| Service {
                        name: name.clone(),
                        id: id(service, "id"),
                        image_id: id(service, "image_id"),
                        config: ServiceConfig {
                            image: text(service, "image"),
                            environment: texts(service.get("environment")),
                            labels: texts(service.get("labels")),
                            composition: members(service.get("composition")),
                        },
                    })
                    .collect(),
                volumes: members(body.get("volumes")),
            }
        })
        .collect();
    apps.sort_by_key(|app| app.id);
    Ok(Target {
        name: Some(text(device, "name")),
        config: texts(device.get("config")),
        apps,
    })
}

/// The keys of a v2 service that are its own; all others are compose keys.
const SERVICE_KEYS: [&str; 9] = [
    "serviceName",
    "imageId",
    "image",
    "environment",
    "labels",
    "running",
    "contract",
    "serviceId",
    "releaseId",
];

/// v2 local form to v3, as the Supervisor does before it validates.
fn local_to_v3(local: &Json) -> Result<Json, Refusal> {
    let mut apps = Vec::new();
    for (key, app) in local.get("apps").map(Json::members).unwrap_or_default() {
        let id = key
            .parse::<u64>()
            .ok()
            .filter(|id| id.to_string() == *key)
            .ok_or(Refusal::Crash)?;
        let mut release = Vec::new();
        push(&mut release, "id", app.get("releaseId"));
        let mut services = Vec::new();
        for (key, service) in entries(app.get("services")) {
            // A missing name is not refused: JavaScript makes it the text "undefined".
            let name = service
                .get("serviceName")
                .and_then(Json::as_str)
                .unwrap_or("undefined");
            let mut v3 = vec![("id".to_owned(), Json::from(key))];
            push(&mut v3, "image_id", service.get("imageId"));
            for member in ["image", "environment", "labels"] {
                push(&mut v3, member, service.get(member));
            }
            let compose = service
                .members()
                .iter()
                .filter(|(key, _)| !SERVICE_KEYS.contains(&key.as_str()));
            v3.push(("composition".to_owned(), compose.cloned().collect()));
            services.push((name.to_owned(), Json::Object(v3)));
        }
        release.push(("services".to_owned(), Json::Object(services)));
        push(&mut release, "volumes", app.get("volumes"));
        push(&mut release, "networks", app.get("networks"));
        let mut v3 = vec![("id".to_owned(), Json::from(id))];
        push(&mut v3, "name", app.get("name"));
        let commit = app.get("commit").and_then(Json::as_str);
        let releases = commit
            .map(|commit| (commit.to_owned(), Json::Object(release)))
            .into_iter()
            .collect();
        v3.push(("releases".to_owned(), releases));
        apps.push((key.clone(), Json::Object(v3)));
    }
    order_as_javascript(&mut apps);
    let mut device = vec![(
        "name".to_owned(),
        local.get("name").cloned().unwrap_or_else(|| "local".into()),
    )];
    device.push((
        "config".to_owned(),
        local.get("config").cloned().unwrap_or(Json::Object(Vec::new())),
    ));
    device.push(("apps".to_owned(), Json::Object(apps)));
    Ok(Json::Object(device))
}

/// The entries of an object, or of an array by index: both are the same to JavaScript.
fn entries(value: Option<&Json>) -> Vec<(String, Json)> {
    match value {
        Some(Json::Object(members)) => members.clone(),
        Some(Json::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item.clone()))
            .collect(),
        _ => Vec::new(),
    }
}

fn push(members: &mut Vec<(String, Json)>, name: &str, value: Option<&Json>) {
    if let Some(value) = value {
        members.push((name.to_owned(), value.clone()));
    }
}
