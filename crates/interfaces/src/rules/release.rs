//! Every rule, in order.

use super::parts::ReleaseParts;
use super::violation::{Found, Violations, shown};
use super::{agent, commit, composition, guard, image, json, names, size, version, volumes};
use crate::codes::FieldCode;
use crate::limits::NUMBER_MAX;
use serde_json::{Map, Value};

/// Whether a release may reach a Supervisor, as far as can be told without the device.
///
/// # Errors
/// Every rule it breaks, up to [`LISTED_MAX`](super::LISTED_MAX), each with the place, a code and a sentence.
pub fn check_release<'a>(release: impl Into<ReleaseParts<'a>>) -> Result<(), Violations> {
    let parts = release.into();
    let mut found = Found::default();
    commit::check(parts.commit, &mut found);
    if let Some(version) = parts.version {
        version::check(version, &mut found);
    }
    for (name, service) in &parts.services {
        names::service(name, &mut found);
        image::check(name, service.image, &mut found);
        for (variable, value) in service.environment {
            names::variable(name, variable, &mut found);
            json::no_nul(&["services", name, "environment", variable], value, &mut found);
        }
        for (label, value) in service.labels {
            names::label(name, label, &mut found);
            json::no_nul(&["services", name, "labels", label], value, &mut found);
        }
        if service.size_bytes.is_some_and(|bytes| bytes > NUMBER_MAX) {
            let message = format!(
                "the sizeBytes of `{}` is not below 2^53: use the size of the image in bytes, or leave it out",
                shown(name)
            );
            found.add(&["services", name, "sizeBytes"], FieldCode::TooLarge, message);
        }
        composition::check(name, service.composition, &parts, &mut found);
    }
    size::check(&parts, &mut found);
    guard::check(&parts, &mut found);
    for (name, definition) in parts.volumes {
        names::named("volumes", "volume", name, &mut found);
        volumes::check(name, definition, &mut found);
        check_members("volumes", name, definition, &mut found);
    }
    for (name, definition) in parts.networks {
        names::named("networks", "network", name, &mut found);
        check_members("networks", name, definition, &mut found);
    }
    if parts.services.is_empty() {
        let message =
            "a release needs at least one service: applying it would remove every app on the device";
        found.add(&["services"], FieldCode::Empty, message);
    } else {
        agent::check(&parts, &mut found);
    }
    found.into_result()
}

fn check_members(section: &str, name: &str, definition: &Map<String, Value>, found: &mut Found) {
    for (key, value) in definition {
        let path = [section, name, key];
        if key.chars().any(char::is_control) {
            let message = "a key holds a control character: use printable characters";
            found.add(&path, FieldCode::ControlCharacter, message);
        }
        json::check(&path, value, found);
    }
}
