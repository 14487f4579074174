//! What is accepted can do no harm, whatever was generated.

use super::releases::{AGENT, any_release, good_release, verdict};
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::rules::RESERVED_KEYS;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// As the Supervisor tells compose keys apart, written independently of the rules.
fn as_one_word(key: &str) -> String {
    key.replace(|c: char| !c.is_alphanumeric(), "").to_lowercase()
}

/// The service as it is posted: the compose keys beside the members, in one object.
fn posted(name: &str, release: &CreateRelease) -> Vec<String> {
    let service = &release.services[name];
    let own = ["serviceName", "imageId", "image", "environment", "labels"];
    own.into_iter()
        .chain(service.composition.keys().map(String::as_str))
        .map(as_one_word)
        .collect()
}

/// Whether the key is one of those in a composition that the real Supervisor was seen to keep in its target
/// (u04-get-target), or that its source takes apart itself.
fn honoured(key: &str) -> bool {
    let recorded = include_str!("../../../simulator/recordings/u04-get-target.jsonl");
    let taken_apart = ["dependson", "ports", "init", "runtime", "storageopt"];
    let key = as_one_word(key);
    let configs = recorded.lines().flat_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let apps = line["resp"]["state"]["local"]["apps"].as_object().cloned();
        let services = apps.into_iter().flatten().map(|(_, app)| app["services"].clone());
        services
            .flat_map(|services| services.as_array().cloned().unwrap_or_default())
            .map(|service| service["config"].clone())
            .collect::<Vec<_>>()
    });
    let mut keys = configs.flat_map(|config| config.as_object().cloned().unwrap_or_default());
    taken_apart.contains(&key.as_str()) || keys.any(|(known, _)| as_one_word(&known) == key)
}

fn volume_sources(composition: &Map<String, Value>) -> Vec<String> {
    let entries = composition
        .iter()
        .filter(|(key, _)| as_one_word(key) == "volumes");
    entries
        .flat_map(|(_, value)| value.as_array().cloned().unwrap_or_default())
        .filter_map(|entry| match entry {
            Value::String(short) => short.split(':').next().map(str::to_owned),
            Value::Object(long) => long.get("source").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        })
        .filter(|source| !source.starts_with('/'))
        .collect()
}

/// Looks at an accepted release with other eyes than the rules.
fn assert_harmless(release: &CreateRelease) -> Result<(), TestCaseError> {
    prop_assert!(release.commit.contains(|c: char| ('a'..='f').contains(&c)));
    prop_assert!(u128::from_str_radix(&release.commit[..7], 16).is_ok());
    prop_assert!(release.services.contains_key(AGENT));
    prop_assert_eq!(
        &release.services[AGENT].labels["io.balena.features.supervisor-api"],
        "1"
    );
    prop_assert!(!volume_sources(&release.services[AGENT].composition).is_empty());
    prop_assert!(!json!(release).to_string().contains("\\u0000"));
    for (name, service) in &release.services {
        prop_assert!(!name.is_empty() && !name.contains('.'));
        prop_assert!((1..=255).contains(&service.image.len()));
        let name_in_registry = service
            .image
            .split('@')
            .next()
            .and_then(|name| name.rsplit('/').next());
        let repository = name_in_registry.and_then(|name| name.split(':').next());
        prop_assert!(
            !repository
                .unwrap_or_default()
                .contains(|c: char| c.is_ascii_uppercase())
        );
        let keys = posted(name, release);
        let unique: BTreeSet<_> = keys.iter().collect();
        prop_assert_eq!(unique.len(), keys.len(), "one key twice: {:?}", keys);
        for (key, value) in &service.composition {
            prop_assert!(
                honoured(key) || key.starts_with("x-"),
                "{} is left out by the Supervisor",
                key
            );
            prop_assert!(key != "restart" || !value.is_boolean(), "read as `always`");
            prop_assert!(!RESERVED_KEYS.contains(&key.as_str()));
            let ids = ["id", "appid", "appuuid", "imageid", "releaseid", "serviceid"];
            prop_assert!(!ids.contains(&as_one_word(key).as_str()), "{} sets an id", key);
        }
        for source in volume_sources(&service.composition) {
            prop_assert!(
                release.volumes.contains_key(&source),
                "{} is not declared",
                source
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_good_release_is_accepted_by_both_ends(release in good_release()) {
        prop_assert_eq!(verdict(&release), Ok(()));
        assert_harmless(&release)?;
    }

    #[test]
    fn no_release_whatever_is_accepted_and_harmful(release in any_release()) {
        if verdict(&release).is_ok() {
            assert_harmless(&release)?;
        }
    }

    #[test]
    fn a_violation_points_into_the_release_and_says_it_in_one_line(release in any_release()) {
        let Err(violations) = verdict(&release) else { return Ok(()) };
        let document = json!(release);
        prop_assert_eq!(violations.iter().count(), violations.count());
        for violation in violations.iter() {
            prop_assert!(!violation.message.contains(char::is_control), "{:?}", violation.message);
            // What is missing is pointed to where it belongs, up to two members further.
            let mut pointer = violation.pointer.as_str();
            while document.pointer(pointer).is_none() {
                pointer = pointer.rsplit_once('/').unwrap().0;
            }
            let missing = violation.pointer[pointer.len()..].matches('/').count();
            prop_assert!(missing <= 1, "{}", violation.pointer);
        }
    }
}

/// Otherwise the properties above would say nothing.
#[test]
fn generated_releases_are_partly_accepted_and_partly_refused() {
    let mut runner = TestRunner::deterministic();
    let accepted = (0..500).filter(|_| {
        let release = any_release().new_tree(&mut runner).unwrap().current();
        verdict(&release).is_ok()
    });
    let accepted = accepted.count();
    assert!((100..400).contains(&accepted), "{accepted} of 500");
}

#[test]
fn the_agents_environment_may_name_its_own_service_or_nothing() {
    for named in ["baserunner", " baserunner ", "", " "] {
        let mut release = super::releases::least();
        let agent = release.services.get_mut(AGENT).unwrap();
        agent
            .environment
            .insert("BASEOS_SERVICE".to_owned(), named.to_owned());
        assert_eq!(verdict(&release), Ok(()), "{named:?}");
    }
}

#[test]
fn a_release_may_name_another_service_as_the_agent() {
    let mut release = super::releases::least();
    let agent = release.services.remove(AGENT).unwrap();
    release.services.insert("edge".to_owned(), agent);
    assert!(verdict(&release).is_err());
    release.agent_service = Some("edge".to_owned());
    assert_eq!(verdict(&release), Ok(()));
}
