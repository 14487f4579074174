use super::*;
use crate::lifecycle::facts::{AppState, Inspection, SupervisorView, TargetApp, TargetService};
use crate::lifecycle::supervisor_target::ids::normalised;
use crate::lifecycle::update::target::Service as Spec;
use baseos_interfaces::status::OsStatus;
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::json;

const OWN: &str = "baserunner";

fn own_service() -> Spec {
    Spec {
        image: "registry.example/baserunner@sha256:0".into(),
        environment: BTreeMap::new(),
        labels: BTreeMap::from([(SUPERVISOR_API_LABEL.to_owned(), "1".to_owned())]),
        composition: object(json!({"volumes": ["baseos:/data/baseos"]})),
        size_bytes: None,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn release(commit: &str) -> Release {
    Release {
        id: "rel_1".into(),
        commit: commit.into(),
        version: None,
        agent_service: None,
        services: BTreeMap::from([(OWN.to_owned(), own_service())]),
        volumes: BTreeMap::from([("baseos".to_owned(), Map::new())]),
        networks: BTreeMap::new(),
    }
}

fn inspection() -> Inspection {
    let service = TargetService {
        service_id: 4,
        image_id: 9,
        release_id: 3,
        image: "old".into(),
    };
    let volume = json!({"driver": "local", "driverOpts": {}, "labels": {"io.balena.supervised": "true"}});
    let app = TargetApp {
        name: "fleet".into(),
        commit: Some("a1".into()),
        services: BTreeMap::from([(OWN.to_owned(), service)]),
        volumes: BTreeMap::from([("baseos".to_owned(), object(volume))]),
    };
    Inspection {
        view: SupervisorView {
            version: String::new(),
            managed: false,
            app_state: AppState::Applied,
            release: None,
            download_percent: None,
            containers: Vec::new(),
            update_failed: false,
            ip_addresses: Vec::new(),
            mac_addresses: Vec::new(),
            os: OsStatus::default(),
        },
        apps: BTreeMap::from([(7, app)]),
        config: BTreeMap::from([
            ("HOST_CONFIG_gpu_mem".to_owned(), "16".to_owned()),
            ("SUPERVISOR_OVERRIDE_LOCK".to_owned(), "true".to_owned()),
            ("SUPERVISOR_LOCAL_MODE".to_owned(), "false".to_owned()),
        ]),
        name: Some("edge".into()),
    }
}

fn adopted() -> TargetRecord {
    let mut record = TargetRecord::default();
    record.adopt(&inspection(), Some(7));
    record
}

#[test]
fn a_target_is_the_whole_truth_in_the_form_the_supervisor_takes() {
    let target = plan(&mut adopted(), &release("b2b2"), OWN).unwrap();
    let json = serde_json::to_value(&target).unwrap();
    let app = &json["local"]["apps"]["7"];
    assert_eq!(json["local"]["name"], "edge");
    assert_eq!(app["name"], "fleet");
    assert_eq!(app["commit"], "b2b2");
    assert_eq!(
        app["services"]["4"]["serviceName"], OWN,
        "the service keeps its id"
    );
    assert_eq!(
        app["services"]["4"]["volumes"],
        json!(["baseos:/data/baseos"]),
        "compose keys are flat"
    );
    assert!(app["services"]["4"]["imageId"].as_u64() > Some(9), "ids rise");
    assert_eq!(target.commit(), "b2b2");
}

#[test]
fn configuration_is_kept_but_for_local_mode_and_the_lock_override() {
    let json = serde_json::to_value(plan(&mut adopted(), &release("b2b2"), OWN).unwrap()).unwrap();
    assert_eq!(
        json["local"]["config"],
        json!({"HOST_CONFIG_gpu_mem": "16", "SUPERVISOR_LOCAL_MODE": "true"})
    );
}

#[test]
fn the_same_commit_is_the_same_target_and_a_newer_one_has_higher_ids() {
    let mut record = adopted();
    let first = plan(&mut record, &release("b2b2"), OWN).unwrap();
    let newer = plan(&mut record, &release("c3c3"), OWN).unwrap();
    assert_eq!(plan(&mut record, &release("b2b2"), OWN).unwrap(), first);
    let id = |target: &LocalTarget| {
        serde_json::to_value(target).unwrap()["local"]["apps"]["7"]["releaseId"].as_u64()
    };
    assert!(id(&newer) > id(&first));
}

#[test]
fn each_harmful_release_is_refused_with_its_reason() {
    let record = adopted();
    let refused = |change: &dyn Fn(&mut Release)| {
        let mut release = release("b2b2");
        change(&mut release);
        check(&record, &release, OWN).unwrap_err()
    };
    assert_eq!(refused(&|r| r.services.clear()), Refusal::NoServices);
    assert_eq!(
        refused(&|r| r.commit = "1234567".into()),
        Refusal::Commit("1234567".into())
    );
    assert_eq!(refused(&|r| r.commit = "B2".into()), Refusal::Commit("B2".into()));
    assert_eq!(
        refused(&|r| r.commit = String::new()),
        Refusal::Commit(String::new())
    );
    let renamed = |r: &mut Release| {
        let service = r.services.remove(OWN).unwrap();
        r.services.insert("other".into(), service);
    };
    assert_eq!(refused(&renamed), Refusal::NoOwnService(OWN.into()));
    let own =
        |change: &'static dyn Fn(&mut Spec)| move |r: &mut Release| change(r.services.get_mut(OWN).unwrap());
    assert_eq!(
        refused(&own(&|s| s.labels.clear())),
        Refusal::OwnServiceWithoutSupervisor(OWN.into())
    );
    assert_eq!(
        refused(&own(&|s| s.composition.clear())),
        Refusal::OwnServiceWithoutState(OWN.into(), "/data/baseos".into())
    );
    assert_eq!(
        refused(&own(&|s| s.image = String::new())),
        Refusal::Image { service: OWN.into() }
    );
    assert_eq!(
        refused(&own(&|s| s.image = "x".repeat(256))),
        Refusal::Image { service: OWN.into() }
    );
    let reserved = own(&|s| {
        s.composition.insert("imageId".into(), 1.into());
    });
    assert_eq!(
        refused(&reserved),
        Refusal::ReservedKey {
            service: OWN.into(),
            key: "imageId".into()
        }
    );
    assert_eq!(
        refused(&|r| r.volumes.clear()),
        Refusal::UndeclaredVolume {
            service: OWN.into(),
            volume: "baseos".into()
        }
    );
    let changed = |r: &mut Release| {
        r.volumes
            .insert("baseos".into(), object(json!({"labels": {"x": "y"}})));
    };
    assert_eq!(refused(&changed), Refusal::VolumeChanged("baseos".into()));
}

#[test]
fn a_volume_defined_alike_in_compose_form_is_no_change() {
    let mut release = release("b2b2");
    release.volumes.insert(
        "baseos".into(),
        object(json!({"driver": "local", "driver_opts": {}, "labels": {}})),
    );
    assert_eq!(check(&adopted(), &release, OWN), Ok(()));
}

#[test]
fn another_app_on_the_device_is_never_removed() {
    let mut seen = inspection();
    let other = seen.apps[&7].clone();
    seen.apps.insert(8, other);
    let mut record = TargetRecord::default();
    record.adopt(&seen, Some(7));
    assert_eq!(
        plan(&mut record, &release("b2b2"), OWN),
        Err(Refusal::OtherApp(8))
    );
}

fn any_service() -> impl Strategy<Value = Spec> {
    let keys = prop_oneof![
        Just("volumes".to_owned()),
        Just("command".to_owned()),
        Just("imageId".to_owned()),
        "[a-z_]{1,8}"
    ];
    let value = prop_oneof![
        Just(json!(["baseos:/data/baseos"])),
        Just(json!(["data:/data/baseos", "x"])),
        Just(json!([{"source": "baseos", "target": "/data"}])),
        Just(json!(null)),
        Just(json!({"a": 1})),
        "\\PC{0,10}".prop_map(Value::from),
    ];
    let labels = prop_oneof![
        Just(BTreeMap::from([(
            SUPERVISOR_API_LABEL.to_owned(),
            "1".to_owned()
        )])),
        Just(BTreeMap::new()),
    ];
    ("\\PC{0,20}", labels, btree_map(keys, value, 0..4)).prop_map(|(image, labels, composition)| Spec {
        image,
        environment: BTreeMap::new(),
        labels,
        composition: composition.into_iter().collect(),
        size_bytes: None,
    })
}

fn any_release() -> impl Strategy<Value = Release> {
    let name = prop_oneof![Just(OWN.to_owned()), Just("onebox".to_owned()), "\\PC{0,6}"];
    let volume = prop_oneof![
        Just(json!({})),
        Just(json!({"labels": {"x": "y"}})),
        Just(json!({"driver": "nfs"}))
    ];
    let volumes = btree_map(
        prop_oneof![Just("baseos".to_owned()), "[a-z]{1,4}"],
        volume.prop_map(object),
        0..3,
    );
    let commit = prop_oneof!["[0-9a-f]{2,40}", "[0-9]{2,10}", "\\PC{0,8}"];
    (commit, btree_map(name, any_service(), 0..4), volumes).prop_map(|(commit, services, volumes)| Release {
        services,
        volumes,
        ..release(&commit)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// No input makes a target empty, drops our service, changes a volume's definition or uses a key that is not
    /// a decimal number: it is a harmless target or a refusal.
    #[test]
    fn no_release_whatever_becomes_a_harmful_target(first in any_release(), second in any_release(), blank: bool) {
        let mut record = if blank { TargetRecord::default() } else { adopted() };
        let mut volumes = BTreeMap::<String, Value>::new();
        for release in [first, second] {
            let Ok(target) = plan(&mut record, &release, OWN) else { continue };
            let json = serde_json::to_value(&target).unwrap();
            let apps = json["local"]["apps"].as_object().unwrap();
            prop_assert_eq!(apps.len(), 1);
            for (key, app) in apps {
                prop_assert_eq!(key.parse::<u64>().unwrap().to_string(), key.as_str());
                let services = app["services"].as_object().unwrap();
                prop_assert!(services.values().any(|service| service["serviceName"] == OWN));
                prop_assert_eq!(services.len(), release.services.len());
                for (key, service) in services {
                    prop_assert_eq!(key.parse::<u64>().unwrap().to_string(), key.as_str());
                    for member in ["serviceName", "imageId", "image", "environment", "labels"] {
                        prop_assert!(!service[member].is_null(), "{member} is required");
                    }
                }
                prop_assert!(app["commit"].as_str().unwrap().contains(|c: char| c.is_ascii_lowercase()));
                for (name, definition) in app["volumes"].as_object().unwrap() {
                    let now = Value::Object(normalised(definition.as_object().unwrap()));
                    let before = volumes.insert(name.clone(), now.clone());
                    prop_assert!(before.is_none_or(|before| before == now), "volume {name} changed");
                }
            }
            prop_assert_eq!(&json["local"]["config"]["SUPERVISOR_LOCAL_MODE"], "true");
        }
    }
}
