//! Whatever target a device has and whatever release comes, judged by what the Supervisor would do (`oracle.rs`).

use super::oracle::{Target, consequences, mounted_at, read};
use super::releases::{OWN, any_release, delivered, object};
use super::{
    History, Inspection, Reason, Run, TargetApp, TargetRecord, TargetService, check, inspection, plan,
};
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const APP: u64 = 7;

/// Definitions of volumes as people write them, some that the release rules would refuse.
fn any_definition() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({ "driver": "local" }),
        json!({ "driver": "", "labels": null, "driver_opts": {} }),
        json!({ "driver": "nfs" }),
        json!({ "driver_opts": { "type": "tmpfs" } }),
        json!({ "labels": { "x": "y" } }),
        json!({ "labels": ["x=y"] }),
        json!({ "labels": { "0": "x=y" } }),
        json!({ "labels": [] }),
        json!({ "labels": { "io.balena.mine": "1" } }),
        json!({ "labels": { "io.resin.mine": "1" } }),
        json!({ "labels": { "io.resin.mine": "2", "io.balena.mine": "1" } }),
        json!({ "labels": { "io.balena.supervised": "no", "io.resin.supervised": "true", "io.balena.app-uuid": "3" } }),
    ])
}

/// The body of a post that somebody else made.
fn any_present() -> impl Strategy<Value = Value> {
    let mounts = prop::sample::select(vec![
        json!(["baseos:/data/baseos"]),
        json!(["baseos:/data"]),
        json!(["data:/data/baseos"]),
        json!(["data:/data", "baseos:/data/baseos"]),
        json!([{ "type": "volume", "source": "baseos", "target": "/data/baseos" }]),
        json!(["/mnt:/data/baseos"]),
        json!([]),
    ]);
    let volumes = btree_map(
        prop::sample::select(vec!["baseos".to_owned(), "data".to_owned()]),
        any_definition(),
        0..3,
    );
    let ids = (
        1..4u64,
        1..4u64,
        1..4u64,
        1..4u64,
        prop_oneof![1..4u64, Just(u64::MAX >> 11)],
    );
    (mounts, volumes, ids, any::<bool>(), "[0-9a-f]{6}[a-f]").prop_map(
        |(mounts, volumes, (own_id, other_id, own_image, other_image, release), other, commit)| {
            let service = |name: &str, image_id: u64, volumes: &Value| {
                json!({ "serviceName": name, "imageId": image_id, "image": "registry.example/i:1", "environment": {},
                    "labels": {}, "volumes": volumes })
            };
            let mut services = Map::new();
            if other {
                services.insert(other_id.to_string(), service("web", other_image, &json!([])));
            }
            services.insert(own_id.to_string(), service(OWN, own_image, &mounts));
            let app = json!({ "name": "fleet", "commit": commit, "releaseId": release, "services": services,
                "volumes": volumes, "networks": {} });
            json!({ "local": { "name": "edge", "config": {}, "apps": { APP.to_string(): app } } })
        },
    )
}

/// A look at a Supervisor that has this target.
fn looked_at(target: &Target) -> Inspection {
    let mut seen = inspection();
    seen.apps.clear();
    for (id, app) in &target.apps {
        let services = app.services.iter().map(|(name, service)| {
            let mounts = service.config["volumes"].as_array().into_iter().flatten();
            let prefix = format!("{id}_");
            let named = mounts.filter_map(|mount| match mount {
                Value::String(short) => short.strip_prefix(&prefix).map(str::to_owned),
                long => {
                    let (source, target) = (long["source"].as_str()?, long["target"].as_str()?);
                    Some(format!("{}:{target}", source.strip_prefix(&prefix)?))
                }
            });
            let service = TargetService {
                service_id: service.id,
                image_id: service.image_id,
                release_id: service.release_id,
                image: service.image.clone(),
                mounts: named.collect(),
            };
            (name.clone(), service)
        });
        let volumes = app.volumes.iter();
        let volumes = volumes.map(|(name, config)| (name.clone(), object(config.clone())));
        let app = TargetApp {
            name: "fleet".into(),
            commit: Some(app.commit.clone()),
            services: services.collect(),
            volumes: volumes.collect(),
            definition: None,
        };
        seen.apps.insert(*id, app);
    }
    seen
}

fn run() -> Run {
    super::run()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// No target that the builder makes harms a device, whatever is on it: the agent stays, with its state, and is
    /// started; no volume is wiped, nothing is read otherwise than it is written.
    #[test]
    fn no_release_harms_a_device(present in any_present(), releases in [any_release(), any_release()]) {
        let mut now = read(&present).unwrap();
        let mut record = TargetRecord::default();
        for release in releases {
            record.adopt(&looked_at(&now), &run());
            let release = delivered(release);
            let Ok(target) = plan(&mut record, &release, History::New, OWN) else { continue };
            let body = serde_json::to_value(&target).unwrap();
            let next = read(&body).map_err(TestCaseError::fail)?;
            let seen = consequences(&now, &next);
            prop_assert_eq!(&seen.wiped, &Default::default());
            prop_assert_eq!(&seen.removed_apps, &Default::default());
            prop_assert!(!seen.removed.contains(OWN));
            prop_assert_eq!(next.apps.len(), 1);
            let app = &next.apps[&APP];
            prop_assert_eq!(app.services.len(), release.services.len(), "no service was lost to another's id");
            prop_assert!(app.commit.contains(|c: char| c.is_ascii_lowercase()));
            let own = &app.services[OWN];
            prop_assert!(["always", "unless-stopped"].contains(&own.config["restart"].as_str().unwrap()));
            let dir = own.config["environment"]["BASEOS_STATE_DIR"].as_str().unwrap_or("/data/baseos").to_owned();
            let place = mounted_at(own, &dir);
            prop_assert!(place.is_some(), "the agent's state outlives its container");
            if let Some(before) = now.apps[&APP].services.get(OWN).and_then(|own| mounted_at(own, "/data/baseos")) {
                prop_assert_eq!(place, Some(before), "the agent finds its state again");
            }
            let mut images = BTreeMap::new();
            for (name, service) in &app.services {
                prop_assert_eq!(images.insert(service.image_id, name), None, "image ids are unique");
                prop_assert_eq!(&service.config["running"], &json!(true));
                let extensions = release.services[name].composition.keys().filter(|key| key.starts_with("x-"));
                prop_assert_eq!(service.left_out.len(), extensions.count(), "{:?}", &service.left_out);
            }
            prop_assert_eq!(&body["local"]["config"]["SUPERVISOR_LOCAL_MODE"], "true");
            now = next;
        }
    }

    /// A release is refused for a volume exactly when the Supervisor would wipe it.
    #[test]
    fn a_volume_is_refused_exactly_when_the_supervisor_would_wipe_it(
        present in any_present(), release in any_release(), definition in any_definition(),
    ) {
        let now = read(&present).unwrap();
        let mut record = TargetRecord::default();
        record.adopt(&looked_at(&now), &run());
        let mut release = delivered(release);
        release.volumes.insert("baseos".into(), object(definition));
        let body = json!({ "local": { "apps": { APP.to_string(): {
            "name": "fleet", "releaseId": 1, "commit": "b", "services": {}, "volumes": release.volumes,
        } } } });
        let wiped = consequences(&now, &read(&body).unwrap()).wiped;
        let refused = check(&record, &release, History::New, OWN).err().map(|refusal| refusal.reasons).unwrap_or_default();
        let refused = refused.iter().filter_map(|reason| match reason {
            Reason::VolumeChanged(name) => Some(name.clone()),
            _ => None,
        });
        prop_assert_eq!(refused.collect::<std::collections::BTreeSet<_>>(), wiped);
    }
}

/// Otherwise the properties above would say nothing.
#[test]
fn generated_releases_are_partly_planned_on_generated_devices() {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_present(), any_release());
    let planned = (0..1000).filter(|_| {
        let (present, release) = strategy.new_tree(&mut runner).unwrap().current();
        let mut record = TargetRecord::default();
        record.adopt(&looked_at(&read(&present).unwrap()), &run());
        plan(&mut record, &delivered(release), History::New, OWN).is_ok()
    });
    let planned = planned.count();
    assert!((50..500).contains(&planned), "{planned} of 1000");
}
