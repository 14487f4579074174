//! Each way to break a rule, on a release that is good otherwise.

use super::releases::{AGENT, good_release, least, object, service, verdict};
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::Service;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A way to break one rule: where it is noticed, as what.
pub(crate) struct Breakage {
    pointer: &'static str,
    code: FieldCode,
    apply: fn(&mut CreateRelease),
}

fn agent(release: &mut CreateRelease) -> &mut Service {
    release.services.get_mut(AGENT).unwrap()
}

fn compose(release: &mut CreateRelease, key: &str, value: Value) {
    agent(release).composition.insert(key.to_owned(), value);
}

fn breakage(pointer: &'static str, code: FieldCode, apply: fn(&mut CreateRelease)) -> Breakage {
    Breakage { pointer, code, apply }
}

#[rustfmt::skip]
pub(crate) fn all() -> Vec<Breakage> {
    use FieldCode as C;
    vec![
        breakage("/commit", C::NotACommit, |r| r.commit = "1f0a9b".into()),
        breakage("/commit", C::NotACommit, |r| r.commit = "1F0A9BE".into()),
        breakage("/commit", C::NotACommit, |r| r.commit = "0f".repeat(33)),
        breakage("/commit", C::NoLetter, |r| r.commit = "1234567".into()),
        breakage("/version", C::Empty, |r| r.version = Some(String::new())),
        breakage("/version", C::TooLong, |r| r.version = Some("1".repeat(65))),
        breakage("/version", C::ControlCharacter, |r| r.version = Some("1\n2".into())),
        breakage("/services", C::Empty, |r| r.services.clear()),
        breakage("/services", C::AgentServiceMissing, |r| {
            r.services.remove(AGENT);
            r.services.insert("web".into(), service("i"));
        }),
        breakage("/services", C::TooMany, |r| {
            r.services.extend((0..64).map(|number| (format!("s{number}"), service("i:1"))));
        }),
        breakage("/services", C::TooLong, |r| {
            agent(r).environment.insert("A".into(), "x".repeat(128 * 1024));
        }),
        breakage("/volumes", C::TooMany, |r| {
            r.volumes.extend((0..64).map(|number| (format!("v{number}"), Map::new())));
        }),
        breakage("/networks", C::TooMany, |r| {
            r.networks.extend((0..65).map(|number| (format!("n{number}"), Map::new())));
        }),
        breakage("/services/web.1", C::NotAName, |r| {
            r.services.insert("web.1".into(), service("i"));
        }),
        breakage("/services/_web", C::NotAName, |r| {
            r.services.insert("_web".into(), service("i"));
        }),
        breakage("/services/baserunner-guard", C::ReservedName, |r| {
            r.services.insert("baserunner-guard".into(), service("i"));
        }),
        breakage("/services/baserunner/image", C::Empty, |r| agent(r).image.clear()),
        breakage("/services/baserunner/image", C::TooLong, |r| agent(r).image = "x".repeat(256)),
        breakage("/services/baserunner/image", C::NotAnImage, |r| agent(r).image = "a b".into()),
        breakage("/services/baserunner/image", C::NotAnImage, |r| agent(r).image = "Baserunner:1".into()),
        breakage("/services/baserunner/environment/A-B", C::NotAVariable, |r| {
            agent(r).environment.insert("A-B".into(), String::new());
        }),
        breakage("/services/baserunner/environment/A", C::ControlCharacter, |r| {
            agent(r).environment.insert("A".into(), "\0".into());
        }),
        breakage("/services/baserunner/labels/a b", C::NotALabel, |r| {
            agent(r).labels.insert("a b".into(), "1".into());
        }),
        breakage("/services/baserunner/labels/a", C::ControlCharacter, |r| {
            agent(r).labels.insert("a".into(), "\0".into());
        }),
        breakage("/services/baserunner/labels", C::SupervisorApiMissing, |r| agent(r).labels.clear()),
        breakage("/services/baserunner/labels", C::SupervisorApiMissing, |r| {
            agent(r).labels.insert("io.balena.features.supervisor-api".into(), "0".into());
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| agent(r).composition.clear()),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["baseos:/data/other"]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["/mnt/data:/data/baseos"]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            agent(r).environment.insert("BASEOS_STATE_DIR".into(), "/state".into());
        }),
        breakage("/services/baserunner/composition/volumes", C::UndeclaredVolume, |r| {
            r.volumes.remove("baseos");
        }),
        breakage("/services/baserunner/composition/volumes", C::InvalidValue, |r| compose(r, "volumes", json!("x:/y"))),
        breakage("/services/baserunner/composition/imageId", C::ReservedKey, |r| compose(r, "imageId", json!(7))),
        breakage("/services/baserunner/composition/image_id", C::ReservedKey, |r| compose(r, "image_id", json!(7))),
        breakage("/services/baserunner/composition/Service-Id", C::ReservedKey, |r| compose(r, "Service-Id", json!(7))),
        breakage("/services/baserunner/composition/running", C::ReservedKey, |r| compose(r, "running", json!(false))),
        breakage("/services/baserunner/composition/pids_limit", C::DuplicateKey, |r| {
            compose(r, "pids_limit", json!(9));
            compose(r, "pidsLimit", json!(9));
        }),
        breakage("/services/baserunner/composition/contract", C::ReservedKey, |r| compose(r, "contract", json!({}))),
        breakage("/services/baserunner/composition/logging", C::UnsupportedKey, |r| compose(r, "logging", json!({}))),
        breakage("/services/baserunner/composition/privileged", C::InvalidValue, |r| compose(r, "privileged", json!("yes"))),
        breakage("/services/baserunner/composition/networks", C::UndeclaredNetwork, |r| compose(r, "networks", json!(["undeclared-network"]))),
        breakage("/services/baserunner/composition/depends_on", C::UnknownService, |r| {
            compose(r, "depends_on", json!(["unknown-service"]));
        }),
        breakage("/services/baserunner/composition/restart", C::AgentNotKept, |r| compose(r, "restart", json!("no"))),
        breakage("/services/baserunner/composition/network_mode", C::AgentNotKept, |r| {
            compose(r, "network_mode", json!("none"));
        }),
        breakage("/services/baserunner/composition/user", C::InvalidValue, |r| compose(r, "user", json!("65534:65534"))),
        breakage("/services/baserunner/composition/User", C::InvalidValue, |r| compose(r, "User", json!("baserunner"))),
        breakage("/services/baserunner/environment/BASEOS_SERVICE", C::InvalidValue, |r| {
            agent(r).environment.insert("BASEOS_SERVICE".to_owned(), "onebox".to_owned());
        }),
        breakage("/services/baserunner/environment/BALENA_APP_ID", C::ReservedVariable, |r| {
            agent(r).environment.insert("BALENA_APP_ID".into(), "9".into());
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["baseos:/data/baseos:ro"]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["baseos:/data"]));
            compose(r, "tmpfs", json!("/data/baseos"));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["baseos:/data", "/data/baseos"]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            compose(r, "volumes", json!(["baseos:/data", "/mnt:/data/baseos"]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            let tmpfs = json!({ "type": "tmpfs", "target": "/data/baseos" });
            compose(r, "volumes", json!(["baseos:/data", tmpfs]));
        }),
        breakage("/services/baserunner/composition/volumes", C::StateVolumeMissing, |r| {
            let volume = json!({ "type": "volume", "source": "baseos", "target": "/data/baseos", "read_only": true });
            compose(r, "volumes", json!([volume]));
        }),
        breakage("/services/baserunner/composition/volumes", C::DuplicateMount, |r| {
            r.volumes.insert("other".into(), Map::new());
            compose(r, "volumes", json!(["baseos:/data/baseos", "other:/data/baseos/"]));
        }),
        breakage("/services/baserunner/sizeBytes", C::TooLarge, |r| agent(r).size_bytes = Some(1 << 53)),
        breakage("/services/baserunner/composition/ímage", C::NotAKey, |r| compose(r, "ímage", json!("x"))),
        breakage("/services/baserunner/composition/x-deep", C::TooDeep, |r| {
            compose(r, "x-deep", (0..33).fold(json!(1), |inner, _| json!([inner])));
        }),
        breakage("/services/baserunner/composition/command/1", C::ControlCharacter, |r| {
            compose(r, "command", json!(["a", "\0"]));
        }),
        breakage("/volumes/a:b", C::NotAName, |r| {
            r.volumes.insert("a:b".into(), Map::new());
        }),
        breakage("/volumes/baseos/driverOpts", C::NotAVolume, |r| {
            r.volumes.insert("baseos".into(), object(json!({ "driverOpts": {} })));
        }),
        breakage("/volumes/baseos/labels", C::NotAVolume, |r| {
            r.volumes.insert("baseos".into(), object(json!({ "labels": ["a=b"] })));
        }),
        breakage("/volumes/baseos/x", C::TooDeep, |r| {
            let deep = (0..33).fold(json!(1), |inner, _| json!({ "x": inner }));
            r.volumes.insert("baseos".into(), object(json!({ "x": deep })));
        }),
        breakage("/networks/.net", C::NotAName, |r| {
            r.networks.insert(".net".into(), Map::new());
        }),
        breakage("/networks/net/a", C::ControlCharacter, |r| {
            r.networks.insert("net".into(), object(json!({ "a": "\0" })));
        }),
    ]
}

#[test]
fn each_broken_rule_is_the_only_one_reported_on_the_least_release() {
    assert_eq!(verdict(&least()), Ok(()));
    for Breakage { pointer, code, apply } in all() {
        let mut release = least();
        apply(&mut release);
        let violations = verdict(&release).unwrap_err();
        let found: Vec<_> = violations.iter().map(|v| (v.pointer.as_str(), &v.code)).collect();
        // Without its volumes in the right form the agent has no state either.
        let mut expected = vec![(pointer, &code)];
        if code == FieldCode::InvalidValue && pointer.ends_with("/volumes") {
            expected.push((pointer, &FieldCode::StateVolumeMissing));
        }
        assert_eq!(found, expected, "{release:?}");
        let message = &violations.first().message;
        assert!(
            !message.contains(char::is_control) && message.len() > 20,
            "{message:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_broken_rule_of_a_release_is_reported(
        release in good_release(), picks in prop::sample::subsequence((0..all().len()).collect::<Vec<_>>(), 1..4),
    ) {
        let mut broken = release;
        let mut applied: Vec<Breakage> = Vec::new();
        for (index, breakage) in all().into_iter().enumerate() {
            // Two at one place would undo each other.
            let apart = |other: &Breakage| {
                !breakage.pointer.starts_with(other.pointer) && !other.pointer.starts_with(breakage.pointer)
            };
            let needs_agent = breakage.pointer.starts_with("/services/baserunner") || breakage.pointer == "/services";
            let state = |b: &Breakage| b.pointer.ends_with("/volumes") || b.pointer.starts_with("/volumes/baseos");
            let clash = applied.iter().any(|other| !apart(other) || (state(other) && state(&breakage)));
            let lost = needs_agent && !broken.services.contains_key(AGENT);
            if picks.contains(&index) && !clash && !lost {
                (breakage.apply)(&mut broken);
                applied.push(breakage);
            }
        }
        let violations = verdict(&broken).unwrap_err();
        for Breakage { pointer, code, .. } in &applied {
            let reported = violations.iter().any(|v| v.pointer == *pointer && v.code == *code);
            prop_assert!(reported, "{} {} of {:?}", pointer, code, violations);
        }
    }
}
