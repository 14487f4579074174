//! Releases to check, as Cloudly takes them and as the agent gets them.

use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::desired::Service;
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
    Service::of_image(image)
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
        agent_service: None,
        services: BTreeMap::from([(AGENT.to_owned(), agent)]),
        volumes: BTreeMap::from([("baseos".to_owned(), Map::new())]),
        networks: BTreeMap::new(),
    }
}

/// What both ends say, which has to be the same.
pub(crate) fn verdict(release: &CreateRelease) -> Result<(), Violations> {
    let cloudly = check_release(release);
    assert_eq!(
        check_release(&release.clone().into_release("rel_1".to_owned())),
        cloudly,
        "{release:?}"
    );
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
        "([A-Za-z]{1,8}\\.example(:[0-9]{1,5})?/)?[a-z]{1,8}/[a-z]{1,8}:[A-Za-z0-9.]{1,5}",
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

/// A release of which anything may be wrong, or nothing: a good one with members changed to what is sometimes right.
pub(crate) fn any_release() -> impl Strategy<Value = CreateRelease> {
    (
        good_release(),
        vec((any::<prop::sample::Index>(), any_change()), 0..4),
    )
        .prop_map(|(mut release, changes)| {
            for (which, change) in changes {
                apply(&mut release, which, change);
            }
            release
        })
}

#[derive(Clone, Debug)]
enum Change {
    Commit(String),
    Version(String),
    Service(String),
    Image(String),
    Variable(String, String),
    Label(String, String),
    Compose(String, Value),
    Volume(String, Value),
    Network(String, Value),
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = || prop_oneof![2 => "[a-z][a-z0-9_-]{0,4}", 1 => "[a-z._-]{0,4}", 1 => "\\PC{0,3}"];
    let key = prop_oneof![
        4 => prop::sample::select(vec!["volumes", "Volumes", "image_id", "running", "network_mode", "networkMode"])
            .prop_map(str::to_owned),
        4 => "[a-z][a-z_]{0,8}",
        1 => "[A-Z-]{0,4}",
        1 => "\\PC{0,3}",
    ];
    let value = prop_oneof![
        Just(json!(["baseos:/data/baseos", "/tmp"])),
        Just(json!([{ "type": "volume", "source": "baseos", "target": "/data" }])),
        Just(json!([{ "source": "baseos", "target": "/data" }])),
        Just(json!(["other:/data", "baseos:/data"])),
        Just(json!({ "a": [1, null] })),
        Just(json!({ "a": "\0" })),
        ".{0,10}".prop_map(Value::from),
    ];
    let definition = || {
        prop_oneof![
            Just(json!({ "driver": "nfs", "labels": { "x": "y" }, "x": [1] })),
            Just(json!({ "labels": ["a=b"] })),
            Just(json!({ "driverOpts": {} })),
            Just(json!({ "driver_opts": { "o": 1 } })),
        ]
    };
    prop_oneof![
        prop_oneof!["[0-9a-f]{5,66}", "[0-9]{7}", "\\PC{0,8}"].prop_map(Change::Commit),
        ".{0,66}".prop_map(Change::Version),
        name().prop_map(Change::Service),
        prop_oneof!["[a-z/:.]{1,12}", ".{0,20}"].prop_map(Change::Image),
        prop_oneof![Just("BASEOS_STATE_DIR".to_owned()), "[A-Z0-9]{1,3}", "\\PC{0,3}"]
            .prop_flat_map(|name| (Just(name), prop_oneof!["/data/[a-z]{1,3}", ".{0,4}"]))
            .prop_map(|(name, value)| Change::Variable(name, value)),
        (prop_oneof!["[a-z.]{1,8}", "\\PC{0,3}"], ".{0,4}")
            .prop_map(|(name, value)| Change::Label(name, value)),
        (key, value).prop_map(|(key, value)| Change::Compose(key, value)),
        (name(), definition()).prop_map(|(name, value)| Change::Volume(name, value)),
        (name(), definition()).prop_map(|(name, value)| Change::Network(name, value)),
    ]
}

fn apply(release: &mut CreateRelease, which: prop::sample::Index, change: Change) {
    let at = which.index(release.services.len());
    let Some(service) = release.services.values_mut().nth(at) else {
        return;
    };
    match change {
        Change::Commit(commit) => release.commit = commit,
        Change::Version(version) => release.version = Some(version),
        Change::Service(name) => {
            // Now and then it is the agent that is called otherwise.
            let old = release.services.keys().nth(at).cloned();
            let service = old.and_then(|old| release.services.remove(&old));
            release.services.extend(service.map(|service| (name, service)));
        }
        Change::Image(image) => service.image = image,
        Change::Variable(name, value) => {
            service.environment.insert(name, value);
        }
        Change::Label(name, value) => {
            service.labels.insert(name, value);
        }
        Change::Compose(key, value) => {
            service.composition.insert(key, value);
        }
        Change::Volume(name, value) => {
            release.volumes.insert(name, object(value));
        }
        Change::Network(name, value) => {
            release.networks.insert(name, object(value));
        }
    }
}
