mod oracle;
mod present;
mod recorded;
mod releases;
mod same_rules;

use super::*;
use crate::lifecycle::facts::{AppState, Inspection, Run, SupervisorView, TargetApp, TargetService};
use baseos_interfaces::rules::LISTED_MAX;
use baseos_interfaces::status::OsStatus;
use releases::{BAD, OWN, created, delivered, object};
use serde_json::{Map, json};

/// The least release, as the agent has it.
fn release(commit: &str) -> Release {
    delivered(created(commit))
}

fn inspection() -> Inspection {
    let service = TargetService {
        service_id: 4,
        image_id: 9,
        release_id: 3,
        image: "old".into(),
        mounts: vec!["baseos:/data/baseos".into()],
    };
    let volume = json!({"driver": "local", "driverOpts": {}, "labels": {"io.balena.supervised": "true"}});
    let app = TargetApp {
        name: "fleet".into(),
        commit: Some("a1".into()),
        services: BTreeMap::from([(OWN.to_owned(), service)]),
        volumes: BTreeMap::from([("baseos".to_owned(), object(volume))]),
        definition: None,
    };
    Inspection {
        view: SupervisorView {
            version: String::new(),
            managed: false,
            app_state: AppState::Applied,
            release: None,
            download_percent: None,
            containers: Vec::new(),
            images: BTreeMap::new(),
            images_problem: None,
            present_images: Vec::new(),
            update_failed: false,
            update_downloaded: false,
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

/// The run of an agent in app 7.
fn run() -> Run {
    Run {
        app_id: Some(7),
        own_service: OWN.into(),
        state_dir: "/data/baseos".into(),
        ..Run::default()
    }
}

fn adopted() -> TargetRecord {
    let mut record = TargetRecord::default();
    record.adopt(&inspection(), &run());
    record
}

#[test]
fn a_target_is_complete_and_in_the_form_the_supervisor_takes() {
    let target = plan(&mut adopted(), &release("b2b2b2b2"), History::New, OWN).unwrap();
    let json = serde_json::to_value(&target).unwrap();
    let app = &json["local"]["apps"]["7"];
    assert_eq!(json["local"]["name"], "edge");
    assert_eq!(app["name"], "fleet");
    assert_eq!(app["commit"], "b2b2b2b2");
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
    assert_eq!(target.commit(), "b2b2b2b2");
}

#[test]
fn configuration_is_kept_but_for_local_mode_and_the_lock_override() {
    let json =
        serde_json::to_value(plan(&mut adopted(), &release("b2b2b2b2"), History::New, OWN).unwrap()).unwrap();
    assert_eq!(
        json["local"]["config"],
        json!({"HOST_CONFIG_gpu_mem": "16", "SUPERVISOR_LOCAL_MODE": "true"})
    );
}

#[test]
fn the_same_commit_is_the_same_target_and_a_newer_one_has_higher_ids() {
    let mut record = adopted();
    let first = plan(&mut record, &release("b2b2b2b2"), History::New, OWN).unwrap();
    let newer = plan(&mut record, &release("c3c3c3c3"), History::New, OWN).unwrap();
    assert_eq!(
        plan(&mut record, &release("b2b2b2b2"), History::New, OWN).unwrap(),
        first
    );
    let id = |target: &LocalTarget| {
        serde_json::to_value(target).unwrap()["local"]["apps"]["7"]["releaseId"].as_u64()
    };
    assert!(id(&newer) > id(&first));
}

/// The reasons why a release is refused on a device that has a volume `baseos`.
fn refused(change: impl Fn(&mut Release)) -> Vec<Reason> {
    let mut release = release("b2b2b2b2");
    change(&mut release);
    check(&adopted(), &release, History::New, OWN)
        .unwrap_err()
        .reasons
}

#[test]
fn a_release_that_names_another_service_as_the_agent_is_refused() {
    let reasons = refused(|release| {
        let agent = release.services[OWN].clone();
        release.services.insert("edge".into(), agent);
        release.agent_service = Some("edge".into());
    });
    assert_eq!(reasons, [Reason::AnotherAgent(OWN.into())]);
    let default = check(&adopted(), &release("b2b2b2b2"), History::New, "edge").unwrap_err();
    assert_eq!(default.reasons, [Reason::AnotherAgent("edge".into())]);
    assert!(
        default.to_string().contains("name `edge` in its agentService"),
        "{default}"
    );
}

#[test]
fn a_release_that_changes_the_definition_of_a_volume_is_refused() {
    let reasons = refused(|release| {
        let changed = object(json!({ "labels": { "x": "y" } }));
        release.volumes.insert("baseos".into(), changed);
    });
    assert_eq!(reasons, [Reason::VolumeChanged("baseos".into())]);
}

#[test]
fn every_reason_of_a_refusal_is_evidence() {
    let mut release = release("b2b2b2b2");
    release.commit = "12345678".into();
    release
        .volumes
        .insert("baseos".into(), object(json!({ "driver": "nfs" })));
    let refusal = check(&adopted(), &release, History::New, OWN).unwrap_err();
    let evidence = refusal.evidence();
    assert_eq!(evidence.len(), 2, "{evidence:?}");
    assert!(evidence[0].contains("letters a to f"), "{evidence:?}");
    assert!(evidence[1].contains("another definition"), "{evidence:?}");
    assert_eq!(refusal.to_string(), format!("{} (and 1 more)", evidence[0]));
}

#[test]
fn a_release_with_thousands_of_faults_is_refused_with_short_evidence() {
    let mut release = release("b2b2b2b2");
    let bad = release.services[OWN].clone();
    let name = |number: usize| format!("{number}{}", ".".repeat(200));
    release
        .services
        .extend((0..2000).map(|number| (name(number), bad.clone())));
    let evidence = check(&adopted(), &release, History::New, OWN)
        .unwrap_err()
        .evidence();
    assert_eq!(evidence.len(), LISTED_MAX + 1);
    assert_eq!(evidence.last().unwrap(), "and 1970 more");
    assert!(evidence.iter().all(|line| line.len() < 500));
}

#[test]
fn every_broken_rule_is_refused_with_its_violation() {
    for (name, change) in BAD {
        let mut broken = created("b2b2b2b2");
        change(&mut broken);
        let violations = check_release(&broken).unwrap_err();
        let refusal = check(&adopted(), &delivered(broken), History::New, OWN).unwrap_err();
        let rules = |reason: &Reason| matches!(reason, Reason::Rule(_));
        let found: Vec<_> = refusal
            .reasons
            .iter()
            .filter(|reason| rules(reason))
            .cloned()
            .collect();
        let expected: Vec<_> = violations.into_iter().map(Reason::Rule).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_volume_defined_alike_in_compose_form_is_no_change() {
    let mut release = release("b2b2b2b2");
    release.volumes.insert(
        "baseos".into(),
        object(json!({"driver": "local", "driver_opts": {}, "labels": {}})),
    );
    assert_eq!(check(&adopted(), &release, History::New, OWN), Ok(()));
}

#[test]
fn another_app_on_the_device_is_never_removed() {
    let mut seen = inspection();
    let other = seen.apps[&7].clone();
    seen.apps.insert(8, other);
    let mut record = TargetRecord::default();
    record.adopt(&seen, &run());
    let refusal = plan(&mut record, &release("b2b2b2b2"), History::New, OWN).unwrap_err();
    assert_eq!(refusal.reasons, [Reason::OtherApp(8)]);
}

#[test]
fn the_agents_state_stays_in_the_volume_and_at_the_path_where_it_is() {
    let moved = |change: fn(&mut Release)| {
        let mut release = release("b2b2b2b2");
        change(&mut release);
        check(&adopted(), &release, History::New, OWN)
            .unwrap_err()
            .to_string()
    };
    let other_volume = moved(|release| {
        release.volumes.insert("other".into(), Map::new());
        own(release).composition = object(json!({ "volumes": ["other:/data/baseos"] }));
    });
    assert!(
        other_volume.contains("keeps its state in the volume `baseos`")
            && other_volume.contains("give it the volume `other`"),
        "{other_volume}"
    );
    let other_path = moved(|release| {
        own(release).composition = object(json!({ "volumes": ["baseos:/data"] }));
    });
    assert!(
        other_path.contains("`baseos` in the volume `baseos`"),
        "{other_path}"
    );

    let mut elsewhere = release("b2b2b2b2");
    own(&mut elsewhere).composition = object(json!({ "volumes": ["baseos:/state"] }));
    own(&mut elsewhere)
        .environment
        .insert("BASEOS_STATE_DIR".into(), "/state".into());
    assert_eq!(
        check(&adopted(), &elsewhere, History::New, OWN),
        Ok(()),
        "the same place under another path"
    );
}

fn own(release: &mut Release) -> &mut crate::lifecycle::update::target::Service {
    release.services.get_mut(OWN).unwrap()
}

#[test]
fn ids_that_the_present_target_uses_twice_are_not_used_twice_again() {
    let mut seen = inspection();
    let app = seen.apps.get_mut(&7).unwrap();
    app.commit = Some("b2b2b2b2".into());
    let twin = app.services[OWN].clone();
    app.services.insert("onebox".into(), twin);
    let mut record = TargetRecord::default();
    record.adopt(&seen, &run());
    let mut wanted = release("b2b2b2b2");
    let onebox = wanted.services[OWN].clone();
    wanted.services.insert("onebox".into(), onebox);
    let target = plan(&mut record, &wanted, History::New, OWN).unwrap();
    let json = serde_json::to_value(&target).unwrap();
    let services = json["local"]["apps"]["7"]["services"].as_object().unwrap();
    assert_eq!(services.len(), 2, "{json}");
    let images: std::collections::BTreeSet<_> = services
        .values()
        .map(|service| service["imageId"].as_u64())
        .collect();
    assert_eq!(images.len(), 2, "{json}");
}

#[test]
fn a_service_that_another_name_has_taken_the_id_of_gets_a_new_one() {
    let mut record = adopted();
    let mut seen = inspection();
    let app = seen.apps.get_mut(&7).unwrap();
    let service = app.services.remove(OWN).unwrap();
    app.services.insert("onebox".into(), service);
    record.adopt(&seen, &run());
    let target = plan(&mut record, &release("b2b2b2b2"), History::New, OWN).unwrap();
    let json = serde_json::to_value(&target).unwrap();
    let services = json["local"]["apps"]["7"]["services"].as_object().unwrap();
    assert_ne!(services.keys().collect::<Vec<_>>(), ["4"], "{json}");
}

#[test]
fn ids_of_any_size_are_taken_over_and_counting_goes_on_below() {
    let mut seen = inspection();
    let service = seen.apps.get_mut(&7).unwrap().services.get_mut(OWN).unwrap();
    (service.service_id, service.image_id, service.release_id) = (u64::MAX, u64::MAX, 0);
    let mut record = TargetRecord::default();
    record.adopt(&seen, &run());
    let target = plan(&mut record, &release("b2b2b2b2"), History::New, OWN).unwrap();
    let json = serde_json::to_value(&target).unwrap();
    let app = &json["local"]["apps"]["7"];
    assert_eq!(app["releaseId"], 1);
    assert_eq!(app["services"][u64::MAX.to_string()]["imageId"], 2);
}

#[test]
fn an_image_that_the_device_has_another_one_of_is_refused_but_not_on_the_way_back() {
    let image = |content: char| {
        format!(
            "registry.example/baserunner@sha256:{}",
            content.to_string().repeat(64)
        )
    };
    let with_image = |commit: &str, image: &str| {
        let mut release = release(commit);
        release.services.get_mut(OWN).unwrap().image = image.to_owned();
        release
    };
    let (a, b) = (
        with_image("a1a1a1a1", &image('a')),
        with_image("b2b2b2b2", &image('b')),
    );
    let mut seen = inspection();
    seen.view.present_images.push(image('a'));
    let mut record = TargetRecord::default();
    record.adopt(&seen, &run());
    let refusal = check_new_images(&record, &b, std::iter::empty()).unwrap_err();
    assert!(refusal.to_string().contains("(of this device)"), "{refusal}");
    assert!(refusal.to_string().contains("write a tag"), "{refusal}");
    assert!(record.is_present(&image('a')) && !record.is_present(&image('b')));

    let before = with_image("c3c3c3c3", &image('c'));
    let refusal = check_new_images(&TargetRecord::default(), &b, std::iter::once(&before)).unwrap_err();
    assert!(refusal.to_string().contains("(of c3c3c3c3)"), "{refusal}");

    let tagged = with_image("d4d4d4d4", "registry.example/baserunner:4");
    assert_eq!(check_new_images(&record, &tagged, std::iter::empty()), Ok(()));
    plan(&mut record, &tagged, History::New, OWN).unwrap();
    assert!(
        plan(&mut record, &a, History::New, OWN).is_ok(),
        "back from the tag to the digest"
    );
}
