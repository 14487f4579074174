//! The compose keys of a service.

use super::compose_keys::{camel_case, expected, is_extension, is_honoured};
use super::json;
use super::mounts::{mounts, shared_targets};
use super::names::canonical_key;
use super::parts::ReleaseParts;
use super::violation::{Found, shown};
use crate::codes::FieldCode;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a service has beside its composition, by the Supervisor's names. In a composition they would replace what the
/// release or the agent says, or give ids, which are the agent's alone. `running: false` would keep a service, the
/// agent too, from ever being started, and a `contract` that the device does not meet makes the Supervisor reject the
/// whole release (source; observed: contract-rejected).
pub const RESERVED_KEYS: [&str; 14] = [
    "image",
    "environment",
    "labels",
    "running",
    "contract",
    "serviceName",
    "serviceId",
    "imageId",
    "imageName",
    "releaseId",
    "appId",
    "appUuid",
    "commit",
    "id",
];
/// The longest compose key, characters; the longest that means anything has less than half of it.
const KEY_MAX_LEN: usize = 64;

/// Every key is one that the Supervisor honours and none is reserved, no two are the same to it, every value can be
/// read, and what is named (volumes, networks, services) is there.
pub(super) fn check(
    service: &str,
    composition: &Map<String, Value>,
    parts: &ReleaseParts<'_>,
    found: &mut Found,
) {
    let name = shown(service);
    let mut seen = BTreeMap::new();
    for (key, value) in composition {
        let path = ["services", service, "composition", key];
        let shown_key = shown(key);
        let canonical = canonical_key(key);
        if canonical.is_empty() || key.len() > KEY_MAX_LEN || !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let message = format!(
                "`{shown_key}` in the composition of `{name}` is not a compose key: use letters, digits and `_`, e.g. \
                 network_mode"
            );
            found.add(&path, FieldCode::NotAKey, message);
        } else if RESERVED_KEYS
            .iter()
            .any(|reserved| canonical_key(reserved) == canonical)
        {
            let message = format!(
                "the composition of `{name}` sets `{shown_key}`, which does not belong there: image, environment and \
                 labels are members of the service, ids and the state are the agent's"
            );
            found.add(&path, FieldCode::ReservedKey, message);
        } else if !is_honoured(key) && !is_extension(key) {
            let message = format!(
                "`{shown_key}` in the composition of `{name}` is a key that the Supervisor leaves out: leave it out too, or \
                 call it `x-{shown_key}` if it is meant for people"
            );
            found.add(&path, FieldCode::UnsupportedKey, message);
        } else if let Some(other) = seen.insert(canonical.clone(), shown_key.clone()) {
            let message = format!(
                "`{other}` and `{shown_key}` in the composition of `{name}` are one key to the Supervisor: keep one"
            );
            found.add(&path, FieldCode::DuplicateKey, message);
        }
        if canonical == "volumes" && !value.is_array() && !value.is_null() {
            let message = format!("the volumes of `{name}` are not a list: use e.g. [\"data:/data\"]");
            found.add(&path, FieldCode::InvalidValue, message);
        }
        if let Some(expected) = expected(key, value) {
            let message = format!(
                "`{shown_key}` in the composition of `{name}` has a value that the Supervisor does not read as it is \
                 written: use {expected}"
            );
            found.add(&path, FieldCode::InvalidValue, message);
        }
        json::check(&path, value, found);
        names(service, key, value, parts, found);
    }
    let path = ["services", service, "composition", "volumes"];
    for volume in mounts(composition).filter_map(|mount| mount.volume()) {
        if !parts.volumes.contains_key(volume) {
            let message = format!(
                "the service `{name}` mounts the volume `{0}`, which the release does not declare: add it to volumes",
                shown(volume)
            );
            found.add(&path, FieldCode::UndeclaredVolume, message);
        }
    }
    for target in shared_targets(composition) {
        let message = format!(
            "the service `{name}` mounts more than one thing at `{}`, with which its container cannot be made: keep one \
             of them in volumes and tmpfs",
            shown(target)
        );
        found.add(&path, FieldCode::DuplicateMount, message);
    }
}

/// Networks and services that a key names are there: without them the container is not made, or never started (source).
fn names(service: &str, key: &str, value: &Value, parts: &ReleaseParts<'_>, found: &mut Found) {
    let path = ["services", service, "composition", key];
    let mut network = |name: &str| {
        if name != "default" && !parts.networks.contains_key(name) {
            let message = format!(
                "the service `{}` uses the network `{}`, which the release does not declare: add it to networks",
                shown(service),
                shown(name)
            );
            found.add(&path, FieldCode::UndeclaredNetwork, message);
        }
    };
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let mut services = Vec::new();
    match (camel_case(key).as_str(), value) {
        ("networkMode", Value::String(mode)) => match mode.split_once(':') {
            Some(("service", other)) => services.push(other.trim().to_owned()),
            Some(_) => {}
            None if matches!(mode.as_str(), "host" | "bridge" | "none" | "") => {}
            None => network(mode),
        },
        ("networks", Value::Array(_)) => texts(value).iter().for_each(|name| network(name)),
        ("networks", Value::Object(members)) => members.keys().for_each(|name| network(name)),
        ("dependsOn", Value::Array(_)) => services = texts(value),
        _ => {}
    }
    for other in services {
        if other == service || !parts.services.contains_key(other.as_str()) {
            let message = format!(
                "the service `{}` waits for the service `{}`, which is not another service of the release",
                shown(service),
                shown(&other)
            );
            found.add(&path, FieldCode::UnknownService, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::ServiceParts;
    use super::super::violation::found_by;
    use super::*;
    use serde_json::json;

    fn found(composition: Value) -> Vec<String> {
        let networks = BTreeMap::from([("net".to_owned(), Map::new())]);
        let (texts, none) = (BTreeMap::new(), Map::new());
        let service = ServiceParts {
            image: "i",
            environment: &texts,
            labels: &texts,
            composition: &none,
            size_bytes: None,
        };
        let volumes = BTreeMap::from([("data".to_owned(), Map::new())]);
        let parts = ReleaseParts {
            commit: "",
            version: None,
            services: BTreeMap::from([("main", service), ("web", service)]),
            volumes: &volumes,
            networks: &networks,
            agent_service: "baserunner",
        };
        let Value::Object(composition) = composition else {
            panic!("{composition}");
        };
        found_by(|found| check("web", &composition, &parts, found))
    }

    fn at(key: &str, code: &str) -> [String; 1] {
        [format!("/services/web/composition/{key} {code}")]
    }

    #[test]
    fn compose_keys_are_taken() {
        let composition = json!({
            "network_mode": "host", "volumes": ["data:/data", "/mnt:/mnt", "/tmp"], "command": ["sh", "-c", "a\nb"],
            "privileged": true, "depends_on": ["main"], "x-note": {}, "restart": null,
        });
        assert_eq!(found(composition), [""; 0]);
        assert_eq!(found(json!({ "volumes": null })), [""; 0]);
    }

    #[test]
    fn a_reserved_key_is_refused_however_it_is_spelled() {
        for key in RESERVED_KEYS {
            assert_eq!(found(json!({ key: "x" })), at(key, "reservedKey"));
        }
        for key in [
            "image_id",
            "IMAGE",
            "_labels",
            "Service-Id",
            "Running",
            "app.uuid",
        ] {
            assert_eq!(found(json!({ key: "x" })), at(key, "reservedKey"), "{key}");
        }
    }

    #[test]
    fn two_keys_that_the_supervisor_reads_as_one_are_refused() {
        let composition = json!({ "networkMode": "host", "network_mode": "none" });
        assert_eq!(found(composition), at("network_mode", "duplicateKey"));
    }

    #[test]
    fn a_key_that_the_supervisor_leaves_out_is_refused() {
        for key in ["logging", "expose", "build", "container_name", "CAPADD", "deploy"] {
            assert_eq!(found(json!({ key: "x" })), at(key, "unsupportedKey"), "{key}");
        }
    }

    #[test]
    fn a_value_that_the_supervisor_reads_otherwise_is_refused() {
        assert_eq!(found(json!({ "restart": false })), at("restart", "invalidValue"));
        assert_eq!(
            found(json!({ "read_only": "false" })),
            at("read_only", "invalidValue")
        );
    }

    #[test]
    fn networks_and_services_that_are_named_are_there() {
        let right =
            json!({ "networks": ["net", "default"], "depends_on": ["main"], "network_mode": "service:main" });
        assert_eq!(found(right), [""; 0]);
        for (key, value) in [
            ("networks", json!(["other"])),
            ("networks", json!({ "other": {} })),
            ("network_mode", json!("other")),
        ] {
            assert_eq!(found(json!({ key: value })), at(key, "undeclaredNetwork"));
        }
        for (key, value) in [
            ("depends_on", json!(["other"])),
            ("depends_on", json!(["web"])),
            ("network_mode", json!("service:other")),
        ] {
            assert_eq!(found(json!({ key: value })), at(key, "unknownService"));
        }
    }

    #[test]
    fn what_is_no_compose_key_is_refused() {
        for key in ["", "_", "ímage", "a b", &"x".repeat(65)] {
            assert_eq!(found(json!({ key: 1 })), at(key, "notAKey"), "{key}");
        }
    }

    #[test]
    fn a_volume_that_is_not_declared_is_refused() {
        for entry in [
            json!("other:/x"),
            json!("other"),
            json!({ "source": "other", "target": "/x" }),
            json!("./a:/b"),
        ] {
            let composition = json!({ "volumes": ["data:/data", entry] });
            assert_eq!(found(composition), at("volumes", "undeclaredVolume"));
        }
    }

    #[test]
    fn two_mounts_at_one_place_are_refused() {
        for mounts in [
            json!({ "volumes": ["data:/data", "data:/data/"] }),
            json!({ "volumes": ["data:/data", "/data"] }),
            json!({ "volumes": ["data:/data"], "tmpfs": ["/data"] }),
        ] {
            assert_eq!(found(mounts), at("volumes", "duplicateMount"));
        }
    }

    #[test]
    fn volumes_that_are_not_a_list_are_refused() {
        for volumes in [json!({ "data": "/data" }), json!("data:/data"), json!(1)] {
            assert_eq!(
                found(json!({ "volumes": volumes })),
                at("volumes", "invalidValue")
            );
        }
    }
}
