//! Releases to check, as Cloudly takes them and as the agent gets them.

use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::desired::{Release, Service};
use baseos_interfaces::rules::{SUPERVISOR_API_LABEL, Violations, check_release};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The agent's service in these releases.
pub(crate) const AGENT: &str = "baserunner";

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

pub(crate) fn service(image: &str) -> Service {
    Service {
        image: image.to_owned(),
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        composition: Map::new(),
        size_bytes: None,
    }
}

/// The least a release can be.
pub(crate) fn least() -> CreateRelease {
    let agent = Service {
        labels: BTreeMap::from([(SUPERVISOR_API_LABEL.to_owned(), "1".to_owned())]),
        composition: object(json!({ "volumes": ["baseos:/data/baseos"] })),
        ..service("registry.example/baserunner:1")
    };
    CreateRelease {
        commit: "1f0a9be".to_owned(),
        version: None,
        services: BTreeMap::from([(AGENT.to_owned(), agent)]),
        volumes: BTreeMap::from([("baseos".to_owned(), Map::new())]),
        networks: BTreeMap::new(),
    }
}

/// The same contents as the agent gets them.
pub(crate) fn delivered(release: &CreateRelease) -> Release {
    Release {
        release_id: "rel_1".to_owned(),
        commit: release.commit.clone(),
        version: release.version.clone(),
        services: release.services.clone(),
        volumes: release.volumes.clone(),
        networks: release.networks.clone(),
    }
}

/// What both ends say, which has to be the same.
pub(crate) fn verdict(release: &CreateRelease) -> Result<(), Violations> {
    let cloudly = check_release(release);
    assert_eq!(check_release(&delivered(release)), cloudly, "{release:?}");
    cloudly
}

/// A release that breaks no rule.
pub(crate) fn good_release() -> impl Strategy<Value = CreateRelease> {
    let name = "[a-zA-Z0-9][a-zA-Z0-9_-]{0,10}";
    let value = prop_oneof![
        "\\PC{0,10}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!({ "a": [1] }))
    ];
    let composition = btree_map("x-[a-z]{1,8}", value, 0..3);
    let any_service = (
        "[a-z]{1,8}/[a-z]{1,8}:[0-9.]{1,5}",
        btree_map("[A-Z_][A-Z0-9_]{0,8}", "[^\\x00]{0,20}", 0..3),
        btree_map("[a-z.]{1,12}", "[^\\x00]{0,20}", 0..3),
        composition,
        any::<bool>(),
    );
    let any_service = any_service.prop_map(|(image, environment, labels, composition, mounts)| {
        let mut composition = Map::from_iter(composition);
        if mounts {
            composition.insert("volumes".to_owned(), json!(["baseos:/shared:ro", "/tmp"]));
        }
        Service {
            environment,
            labels,
            composition,
            ..service(&image)
        }
    });
    let definition = prop_oneof![
        Just(json!({})),
        Just(json!({ "driver": "local", "labels": { "x": "y" } })),
        Just(json!({ "driver_opts": { "type": "none", "o": "bind", "device": "/mnt" } })),
    ];
    (
        "[0-9a-f]{3,60}",
        proptest::option::of("[ -~]{1,64}"),
        btree_map(name, any_service, 0..4),
        btree_map(
            "[a-z][a-z0-9_.-]{0,10}",
            definition.clone().prop_map(object),
            0..3,
        ),
        btree_map("[a-z][a-z0-9_.-]{0,10}", definition.prop_map(object), 0..3),
    )
        .prop_map(|(commit, version, services, volumes, networks)| {
            let mut release = least();
            release.commit = format!("{commit}abcd");
            release.version = version;
            for (name, service) in services {
                release.services.entry(name).or_insert(service);
            }
            for (name, definition) in volumes {
                release.volumes.entry(name).or_insert(definition);
            }
            release.networks = networks;
            release
        })
}

/// A release of anything, with a good chance to be nearly right.
pub(crate) fn any_release() -> impl Strategy<Value = CreateRelease> {
    let key = prop_oneof![
        Just("volumes".to_owned()),
        Just("Volumes".to_owned()),
        Just("image_id".to_owned()),
        Just("running".to_owned()),
        "[a-zA-Z_-]{0,8}",
        "\\PC{0,4}",
    ];
    let value = prop_oneof![
        Just(json!(["baseos:/data/baseos"])),
        Just(json!(["other:/data", "/data"])),
        Just(json!([{ "type": "volume", "source": "baseos", "target": "/data" }])),
        Just(json!(null)),
        Just(json!({ "a": "\0" })),
        ".{0,10}".prop_map(Value::from),
    ];
    let labels = prop_oneof![
        Just(BTreeMap::from([(
            SUPERVISOR_API_LABEL.to_owned(),
            "1".to_owned()
        )])),
        btree_map("\\PC{0,4}", ".{0,4}", 0..2),
    ];
    let environment = prop_oneof![
        Just(BTreeMap::new()),
        "/?[a-z./]{0,12}".prop_map(|dir| BTreeMap::from([("BASEOS_STATE_DIR".to_owned(), dir)])),
        btree_map("\\PC{0,4}", ".{0,4}", 0..2),
    ];
    let image = prop_oneof!["[a-z/:.]{1,12}", ".{0,20}"];
    let any_service = (image, environment, labels, btree_map(key, value, 0..3)).prop_map(
        |(image, environment, labels, composition)| Service {
            environment,
            labels,
            composition: composition.into_iter().collect(),
            ..service(&image)
        },
    );
    let definition = prop_oneof![
        3 => Just(json!({})),
        1 => Just(json!({ "labels": ["a=b"] })),
        1 => Just(json!({ "driverOpts": {} })),
        1 => Just(json!({ "driver_opts": { "o": 1 } })),
    ];
    let name = || prop_oneof![2 => Just(AGENT.to_owned()), 1 => Just("web.1".to_owned()), 2 => "[a-z_-]{0,4}", 1 => "\\PC{0,4}"];
    let volume = prop_oneof![3 => Just("baseos".to_owned()), 1 => "[a-z.]{0,4}", 1 => "\\PC{0,3}"];
    let commit = prop_oneof![3 => "[0-9a-f]{6,66}", 1 => "[0-9]{7}", 1 => "\\PC{0,8}"];
    (
        commit,
        proptest::option::of(".{0,66}"),
        btree_map(name(), any_service, 0..3),
        btree_map(volume, definition.prop_map(object), 0..3),
        vec("\\PC{0,3}", 0..2),
    )
        .prop_map(|(commit, version, services, volumes, networks)| CreateRelease {
            commit,
            version,
            services,
            volumes,
            networks: networks.into_iter().map(|name| (name, Map::new())).collect(),
        })
}
