//! A thorough look: the view, and the target the Supervisor works on.

use super::client::{SupervisorClient, error};
use super::request::Request;
use super::view::{Known, look};
use super::wire::{App, TargetState};
use crate::lifecycle::facts::{Inspection, SupervisorError, SupervisorErrorKind, TargetApp, TargetService};
use serde_json::Value;
use std::collections::BTreeMap;

const TARGET: &str = "/v2/local/target-state";

/// Inspects. Nothing is taken from memory: an update is built on what comes of this.
///
/// # Errors
/// That of the first request that failed; `Garbage` when the target has an app without a numeric id, because
/// what cannot be named would be removed by the next post.
pub(super) async fn inspect(client: &SupervisorClient) -> Result<Inspection, SupervisorError> {
    let view = look(client, &mut Known::default()).await?;
    let target: TargetState = client.read(Request::get(TARGET)).await?;
    let local = target.state.local;
    let mut apps = BTreeMap::new();
    for (id, app) in local.apps {
        let Ok(id) = id.parse() else {
            return Err(error(
                SupervisorErrorKind::Garbage,
                format!("GET {TARGET}: an app's id is not a number"),
            ));
        };
        apps.insert(id, target_app(app));
    }
    Ok(Inspection {
        view,
        apps,
        config: local.config.into_iter().filter_map(setting).collect(),
        name: local.name,
    })
}

fn target_app(app: App) -> TargetApp {
    // One without ids has none to keep: the next post gives it new ones.
    let services = app.services.into_iter().filter_map(|service| {
        let target = TargetService {
            service_id: service.service_id?,
            image_id: service.image_id?,
            release_id: service.release_id?,
            image: service.image_name.unwrap_or_default(),
        };
        Some((service.service_name, target))
    });
    let volumes = app.volumes.into_iter().map(|volume| (volume.name, volume.config));
    TargetApp {
        name: app.app_name.unwrap_or_default(),
        commit: app.commit.filter(|commit| !commit.is_empty()),
        services: services.collect(),
        volumes: volumes.collect(),
    }
}

/// The Supervisor takes strings only; `null` is no setting.
fn setting((name, value): (String, Value)) -> Option<(String, String)> {
    match value {
        Value::Null => None,
        Value::String(text) => Some((name, text)),
        other => Some((name, other.to_string())),
    }
}
