//! Reading of posted targets (recording u05-body-matrix).

use crate::json::{Json, order_as_javascript};
use crate::supervisor::target::{App, Service, ServiceConfig, Target};
use crate::supervisor::validate;

/// Why a post is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The Supervisor's process ends (observed).
    Crash,
    /// 400 with this message.
    Invalid(String),
}

/// Reads the body of `POST /v2/local/target-state`.
///
/// A body without an object under `local` (an empty body, `{"local":null}`, a v3 body) is a target without apps.
///
/// # Errors
/// As the real one: a crash for an app key that is not a canonical decimal number, a text for the rest.
pub(crate) fn parse_local(body: &Json, device_uuid: &str) -> Result<Target, Refusal> {
    let local = body.get("local").cloned().unwrap_or(Json::Null);
    let v3 = local_to_v3(&local)?;
    let mut target = parse_v3(&v3, device_uuid).map_err(Refusal::Invalid)?;
    if local.get("name").is_none() {
        target.name = None;
    }
    Ok(target)
}

/// Reads a device's part of a v3 target, the form that a backend serves.
///
/// # Errors
/// The Supervisor's text, which names each member that is wrong.
pub(crate) fn parse_v3(device: &Json, device_uuid: &str) -> Result<Target, String> {
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
            // An app has one release: the first key wins.
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

/// Keys of a v2 service that are not compose keys.
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

/// From the v2 local form to v3, as the Supervisor does before it validates.
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

/// The entries of an object, or of an array by index: JavaScript does not distinguish them.
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
