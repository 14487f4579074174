//! What the agent itself needs of a release, to live on and to keep its identity.

use super::agent_user::{ROOT_CAPABILITIES, uid};
use super::compose_keys::camel_case;
use super::parts::ReleaseParts;
use super::state_mount::{AGENT_STATE_DIR, AGENT_STATE_DIR_VARIABLE, state_place};
use super::violation::{Found, shown};
use crate::codes::FieldCode;
use std::collections::BTreeMap;

/// Without this label, at `1`, the Supervisor does not give the container its address and key.
pub const SUPERVISOR_API_LABEL: &str = "io.balena.features.supervisor-api";

/// The variable in the agent's environment that names its own service.
pub const AGENT_SERVICE_VARIABLE: &str = "BASEOS_SERVICE";

/// What is wrong with the name that the environment of the agent's service gives it; set to nothing counts as not set.
pub fn agent_name_problem(environment: &BTreeMap<String, String>, service: &str) -> Option<String> {
    let named = environment.get(AGENT_SERVICE_VARIABLE)?.trim();
    (!named.is_empty() && named != service).then(|| {
        format!(
            "{AGENT_SERVICE_VARIABLE} = `{}`: the agent's service is `{}`, and under another name the agent would refuse \
             every release; leave it out",
            shown(named),
            shown(service)
        )
    })
}

/// The agent's own service is in the release, reaches the Supervisor, is kept running, and keeps its state in a named
/// volume. A path of the host does not count: the Supervisor leaves such mounts out (source).
pub(super) fn check(parts: &ReleaseParts<'_>, found: &mut Found) {
    let agent = parts.agent_service;
    let name = shown(agent);
    let Some(service) = parts.services.get(agent) else {
        let message = format!(
            "the release lacks the service `{name}`, which is the agent: applying it would lose the device; add it, as in \
             the release that runs now"
        );
        found.add(&["services"], FieldCode::AgentServiceMissing, message);
        return;
    };
    if service.labels.get(SUPERVISOR_API_LABEL).map(String::as_str) != Some("1") {
        let message = format!(
            "the service `{name}` (the agent) lacks the label {SUPERVISOR_API_LABEL}=1: it could not reach the Supervisor \
             any more"
        );
        found.add(
            &["services", agent, "labels"],
            FieldCode::SupervisorApiMissing,
            message,
        );
    }
    let state_dir = service.environment.get(AGENT_STATE_DIR_VARIABLE);
    let state_dir = state_dir.map_or(AGENT_STATE_DIR, String::as_str);
    if state_place(service).is_none() {
        let message = format!(
            "the service `{name}` (the agent) mounts no named volume at {} that it can write: the node's identity would be \
             lost; add e.g. \"baseos:{AGENT_STATE_DIR}\" to its volumes (a path of the host does not count, the Supervisor \
             leaves it out)",
            shown(state_dir)
        );
        let path = ["services", agent, "composition", "volumes"];
        found.add(&path, FieldCode::StateVolumeMissing, message);
    }
    if let Some(message) = agent_name_problem(service.environment, agent) {
        let path = ["services", agent, "environment", AGENT_SERVICE_VARIABLE];
        found.add(&path, FieldCode::InvalidValue, message);
    }
    for variable in service.environment.keys() {
        // What the release says wins over what the Supervisor would set (source), and the agent would take another app
        // or another service for its own.
        if ["BALENA_", "RESIN_"].iter().any(|own| variable.starts_with(own)) {
            let message = format!(
                "the environment of `{name}` (the agent) sets `{}`, which is the Supervisor's to set: leave it out",
                shown(variable)
            );
            let path = ["services", agent, "environment", variable];
            found.add(&path, FieldCode::ReservedVariable, message);
        }
    }
    for (key, value) in service.composition {
        let user = value.as_str().filter(|_| camel_case(key) == "user");
        if let Some(Err(problem)) = user.map(uid) {
            let message = format!(
                "with `{}` as it is the service `{name}` (the agent) could not work: {problem}; write the number of the user \
                 that its state belongs to, or \"0:0\" with the capabilities {}, or leave it out",
                shown(key),
                ROOT_CAPABILITIES.join(" and ")
            );
            let path = ["services", agent, "composition", key];
            found.add(&path, FieldCode::InvalidValue, message);
        }
        let text = value.as_str().map(|text| text.trim().to_ascii_lowercase());
        let wrong = match (camel_case(key).as_str(), text.as_deref()) {
            ("restart", Some("no" | "on-failure")) => {
                "would not be started again when it ends: use \"always\""
            }
            ("networkMode", Some("none")) => {
                "could reach neither the Supervisor nor Cloudly: use \"host\" or leave it out"
            }
            _ => continue,
        };
        let message = format!(
            "with `{}` as it is the service `{name}` (the agent) {wrong}",
            shown(key)
        );
        let path = ["services", agent, "composition", key];
        found.add(&path, FieldCode::AgentNotKept, message);
    }
}
