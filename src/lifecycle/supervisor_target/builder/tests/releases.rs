//! Releases as they are created in Cloudly, good ones and broken ones, and as they reach the agent.

use crate::lifecycle::update::target::{AppTarget, Release};
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::desired::{DesiredApp, Policy, Service};
use baseos_interfaces::rules::SUPERVISOR_API_LABEL;
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The agent's service in these releases, unless a change renames it.
pub(super) const OWN: &str = "baserunner";

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn service(image: &str) -> Service {
    Service::of_image(image)
}

/// The least a release can be.
pub(super) fn created(commit: &str) -> CreateRelease {
    let agent = Service {
        labels: BTreeMap::from([(SUPERVISOR_API_LABEL.to_owned(), "1".to_owned())]),
        composition: object(json!({ "volumes": ["baseos:/data/baseos"] })),
        ..service("registry.example/baserunner:1")
    };
    CreateRelease {
        commit: commit.to_owned(),
        version: None,
        agent_service: None,
        services: BTreeMap::from([(OWN.to_owned(), agent)]),
        volumes: BTreeMap::from([("baseos".to_owned(), Map::new())]),
        networks: BTreeMap::new(),
    }
}

/// A release as the agent has it: Cloudly gives it an id and sends it as JSON in the desired state.
pub(super) fn delivered(created: CreateRelease) -> Release {
    let sent = DesiredApp {
        release: created.into_release("rel_1".to_owned()),
        rollout_id: None,
        slot: None,
        policy: Policy::default(),
    };
    let json = serde_json::to_string(&sent).unwrap();
    let received: DesiredApp = serde_json::from_str(&json).unwrap();
    AppTarget::from(&received).release
}

/// A change to a release, with its name.
pub(super) type Change = (&'static str, fn(&mut CreateRelease));

fn own(release: &mut CreateRelease) -> &mut Service {
    release
        .services
        .entry(OWN.to_owned())
        .or_insert_with(|| service("agent"))
}

fn add(release: &mut CreateRelease, name: &str, service: Service) {
    release.services.insert(name.to_owned(), service);
}

fn compose(key: &str, value: Value) -> Service {
    Service {
        composition: Map::from_iter([(key.to_owned(), value)]),
        ..service("registry.example/onebox:1")
    }
}

/// Changes that keep to the rules.
#[rustfmt::skip]
pub(super) const GOOD: [Change; 9] = [
    ("another service", |r| add(r, "Onebox-1_a", service("registry.example/onebox:1"))),
    ("a service with compose keys", |r| add(r, "web", compose("network_mode", json!("host")))),
    ("a path of the host", |r| add(r, "web", compose("volumes", json!(["/mnt:/mnt", "/tmp"])))),
    ("a further volume", |r| drop(r.volumes.insert("data.1".to_owned(), object(json!({ "driver": "local" }))))),
    ("a network", |r| drop(r.networks.insert("net".to_owned(), Map::new()))),
    ("a version", |r| r.version = Some("1.13.0".to_owned())),
    ("the agent's default name, spelled out", |r| r.agent_service = Some(OWN.to_owned())),
    ("a user of the agent", |r| drop(own(r).composition.insert("user".to_owned(), json!("10001:10001")))),
    ("another name for the agent", |r| {
        let agent = own(r).clone();
        add(r, "edge", agent);
        r.agent_service = Some("edge".to_owned());
    }),
];

/// Changes that each break a rule. Before there was one set of rules, Cloudly accepted the first six and the agent the
/// two after them, and the other end refused them.
#[rustfmt::skip]
pub(super) const BAD: [Change; 30] = [
    ("a service `web.1`", |r| add(r, "web.1", service("i"))),
    ("no agent", |r| {
        r.services.remove(OWN);
        add(r, "onebox", service("i"));
    }),
    ("an agent without access to the Supervisor", |r| own(r).labels.clear()),
    ("an agent without state", |r| own(r).composition.clear()),
    ("an undeclared volume", |r| add(r, "web", compose("volumes", json!(["other:/data"])))),
    ("a service's id", |r| add(r, "web", compose("imageId", json!(7)))),
    ("a service `_web`", |r| add(r, "_web", service("i"))),
    ("a short commit", |r| r.commit = "b2b2".to_owned()),
    ("a service's id, spelled otherwise", |r| add(r, "web", compose("image_id", json!(7)))),
    ("no services", |r| r.services.clear()),
    ("a commit of digits", |r| r.commit = "12345678".to_owned()),
    ("a commit in upper case", |r| r.commit = "B2B2B2B2".to_owned()),
    ("an empty version", |r| r.version = Some(String::new())),
    ("an empty image", |r| own(r).image.clear()),
    ("a long image", |r| own(r).image = "x".repeat(256)),
    ("an image with a space", |r| own(r).image = "a b".to_owned()),
    ("state in a path of the host", |r| {
        own(r).composition = object(json!({ "volumes": ["/mnt:/data/baseos"] }));
    }),
    ("state hidden by a path of the host", |r| {
        own(r).composition = object(json!({ "volumes": ["baseos:/data", "/mnt:/data/baseos"] }));
    }),
    ("state that can only be read", |r| {
        own(r).composition = object(json!({ "volumes": ["baseos:/data/baseos:ro"] }));
    }),
    ("two mounts at one place", |r| add(r, "web", compose("volumes", json!(["baseos:/a", "/a"])))),
    ("a size that is too large", |r| own(r).size_bytes = Some(u64::MAX)),
    ("state elsewhere", |r| drop(own(r).environment.insert("BASEOS_STATE_DIR".to_owned(), "/state".to_owned()))),
    ("a variable that is none", |r| drop(own(r).environment.insert("A-B".to_owned(), String::new()))),
    ("a label that is none", |r| drop(own(r).labels.insert("a b".to_owned(), String::new()))),
    ("a volume with a label list", |r| {
        r.volumes.insert("x".to_owned(), object(json!({ "labels": ["a=b"] })));
    }),
    ("a volume that is none", |r| drop(r.volumes.insert("a:b".to_owned(), Map::new()))),
    ("a network that is none", |r| drop(r.networks.insert(".net".to_owned(), Map::new()))),
    ("the Supervisor's user for the agent", |r| drop(own(r).composition.insert("user".to_owned(), json!("65534")))),
    ("a user of the agent that is no number", |r| drop(own(r).composition.insert("user".to_owned(), json!("node:1")))),
    ("an agent that is not there", |r| r.agent_service = Some("edge-2".to_owned())),
];

/// A release of which anything may be wrong, or nothing.
pub(super) fn any_release() -> impl Strategy<Value = CreateRelease> {
    let commit = prop_oneof![
        6 => "[0-9a-f]{6,20}[a-f]",
        1 => "[0-9]{2,10}",
        1 => "\\PC{0,8}",
    ];
    let changes = (
        prop::sample::subsequence(GOOD.to_vec(), 0..=4),
        prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::sample::subsequence(BAD.to_vec(), 1..=2),
        ],
    );
    let name = prop_oneof![2 => "[a-z0-9][a-zA-Z0-9_-]{0,5}", 1 => "\\PC{0,6}"];
    let image = prop_oneof![2 => "[a-z/]{1,8}:[0-9.]{1,3}", 1 => "\\PC{0,20}"];
    let value = prop_oneof![
        Just(json!(["baseos:/shared"])),
        Just(json!(null)),
        Just(json!({ "a": 1 })),
        "\\PC{0,10}".prop_map(Value::from),
    ];
    let more = proptest::option::of((name, image, "[a-z_]{1,8}", value));
    let volume = prop_oneof![Just("baseos"), Just("data")];
    let definition = prop_oneof![
        Just(json!({})),
        Just(json!({ "labels": { "x": "y" } })),
        Just(json!({ "driver": "nfs" })),
    ];
    let volumes = btree_map(volume.prop_map(str::to_owned), definition.prop_map(object), 0..3);
    (commit, changes, more, volumes).prop_map(|(commit, (good, bad), more, volumes)| {
        let mut release = created(&commit);
        release.volumes.extend(volumes);
        if let Some((name, image, key, value)) = more {
            let composition = Map::from_iter([(key, value)]);
            let service = Service {
                composition,
                ..service(&image)
            };
            release.services.entry(name).or_insert(service);
        }
        for (_, change) in good.into_iter().chain(bad) {
            change(&mut release);
        }
        release
    })
}
