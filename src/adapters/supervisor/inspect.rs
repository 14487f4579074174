//! Inspections: the view and the target that the Supervisor works on.

use super::client::SupervisorClient;
use super::convert::present_release;
use super::http::supervisor_error;
use super::request::Request;
use super::view::{Cache, TARGET, engine_images, read_view};
use super::wire::{App, TargetState};
use crate::lifecycle::facts::{Inspection, SupervisorError, SupervisorErrorKind, TargetApp, TargetService};
use baseos_interfaces::collect::CollectTree as _;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Reads everything anew, without a cache, because the next update is built on the result.
///
/// # Errors
/// The error of the first request that failed. `Garbage` if an app of the target has no numeric id: the next post could
/// not name it and would thereby remove it.
pub(super) async fn inspect(client: &SupervisorClient) -> Result<Inspection, SupervisorError> {
    let mut view = read_view(client, &mut Cache::default()).await?;
    let target: TargetState = client.read(Request::get(TARGET)).await?;
    view.images = engine_images(&target);
    let local = target.state.local;
    let mut apps = BTreeMap::new();
    for (id, app) in local.apps {
        let Ok(id) = id.parse() else {
            return Err(supervisor_error(
                SupervisorErrorKind::Garbage,
                format!("GET {TARGET}: an app's id is not a number"),
            ));
        };
        apps.insert(id, target_app(id, app));
    }
    Ok(Inspection {
        view,
        apps,
        config: local.config.into_iter().filter_map(setting).collect_tree(),
        name: local.name,
    })
}

fn target_app(id: u64, app: App) -> TargetApp {
    let definition = Some(present_release(id, &app));
    // A service without ids is left out; the next post gives it new ones.
    let services = app.services.into_iter().filter_map(|service| {
        let target = TargetService {
            service_id: service.service_id?,
            image_id: service.image_id?,
            release_id: service.release_id?,
            image: service.image_name.unwrap_or_default(),
            mounts: named_mounts(id, &service.config),
        };
        Some((service.service_name, target))
    });
    let volumes = app.volumes.into_iter().map(|volume| (volume.name, volume.config));
    TargetApp {
        name: app.app_name.unwrap_or_default(),
        commit: app.commit.filter(|commit| !commit.is_empty()),
        services: services.collect_tree(),
        volumes: volumes.collect_tree(),
        definition,
    }
}

/// The named volumes among a service's mounts, in the short form. The Supervisor puts the app's id before their names.
fn named_mounts(app_id: u64, config: &Map<String, Value>) -> Vec<String> {
    let prefix = format!("{app_id}_");
    let short = |volume: &Value| match volume {
        Value::String(short) => short.strip_prefix(&prefix).map(str::to_owned),
        Value::Object(long) => {
            let text = |key: &str| long.get(key).and_then(Value::as_str);
            let (name, target) = (text("source")?.strip_prefix(&prefix)?, text("target")?);
            let named = text("type") == Some("volume");
            let read_only = ["readOnly", "read_only"]
                .iter()
                .any(|key| long.get(*key) == Some(&Value::Bool(true)));
            named.then(|| format!("{name}:{target}{}", if read_only { ":ro" } else { "" }))
        }
        _ => None,
    };
    let volumes = config.get("volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().filter_map(short).collect()
}

/// A configuration value as the string that the Supervisor requires; none for `null`.
fn setting((name, value): (String, Value)) -> Option<(String, String)> {
    match value {
        Value::Null => None,
        Value::String(text) => Some((name, text)),
        other => Some((name, other.to_string())),
    }
}
