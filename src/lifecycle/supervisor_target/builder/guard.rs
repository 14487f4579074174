//! The guard's part of a target.

use super::{History, LocalTarget, Service as TargetService, plan};
use crate::lifecycle::supervisor_target::ids::{ServiceIds, TargetRecord};
use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::rules::{AGENT_STATE_DIR_VARIABLE, GUARD_SERVICE, SUPERVISOR_API_LABEL};
use serde_json::json;

/// Compose keys that the guard shares with the agent, in lower case without punctuation: what it needs to reach the
/// state directory and the Supervisor, with no more rights.
const SHARED: [&str; 12] = [
    "capadd",
    "capdrop",
    "entrypoint",
    "extrahosts",
    "groupadd",
    "networkmode",
    "networks",
    "readonly",
    "securityopt",
    "user",
    "usernsmode",
    "volumes",
];

/// The guard of an agent: the same image with another command.
pub(crate) fn guard_service(agent: &Service) -> Service {
    let canonical = |key: &str| -> String {
        key.bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| char::from(byte.to_ascii_lowercase()))
            .collect()
    };
    let mut composition: serde_json::Map<_, _> = agent
        .composition
        .iter()
        .filter(|(key, _)| SHARED.contains(&canonical(key).as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect_tree();
    composition.insert("command".to_owned(), json!(["guard"]));
    composition.insert("restart".to_owned(), json!("always"));
    let state_dir = agent.environment.get_key_value(AGENT_STATE_DIR_VARIABLE);
    let state_dir = state_dir.map(|(name, value)| (name.clone(), value.clone()));
    Service {
        image: agent.image.clone(),
        environment: state_dir.into_iter().collect_tree(),
        labels: [(SUPERVISOR_API_LABEL.to_owned(), "1".to_owned())].into(),
        composition,
        size_bytes: None,
        platforms: agent.platforms.clone(),
    }
}

impl LocalTarget {
    /// The same target with the guard.
    pub(crate) fn with_guard(mut self, ids: ServiceIds, guard: &Service) -> Self {
        let service = TargetService {
            service_name: GUARD_SERVICE.to_owned(),
            image_id: ids.image_id,
            image: guard.image.clone(),
            environment: guard.environment.clone(),
            labels: guard.labels.clone(),
            composition: guard.composition.clone(),
        };
        if let Some(app) = self.local.apps.values_mut().next() {
            app.services.insert(ids.service_id, service);
        }
        self
    }
}

/// The target of a proven release again, with the guard and the ids it was posted with; nothing is remembered.
pub(crate) fn rebuild(record: &TargetRecord, release: &Release, guard: &Service) -> Option<LocalTarget> {
    let mut record = record.clone();
    let target = plan(&mut record, release, History::Proven, release.agent_service()).ok()?;
    let ids = record.guard_ids(guard);
    Some(target.with_guard(ids, guard))
}
