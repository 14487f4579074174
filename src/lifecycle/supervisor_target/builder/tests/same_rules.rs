//! What Cloudly accepts when a release is created, the agent accepts when it stages it, and the reverse, unless the
//! device itself stands against it.

use super::releases::{BAD, GOOD, OWN, any_release, created, delivered};
use crate::lifecycle::supervisor_target::builder::{History, check, check_new_images, plan};
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::desired::{PlatformImage, Service};
use baseos_interfaces::rules::{ImageUse, check_images, check_release};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// Cloudly's answer to creating a release.
fn cloudly_accepts(release: &CreateRelease) -> bool {
    check_release(release).is_ok()
}

/// The agent's answer when it stages the release on a device that has nothing yet.
fn agent_accepts(release: &CreateRelease) -> bool {
    let own_service = release.agent_service().to_owned();
    check(
        &TargetRecord::default(),
        &delivered(release.clone()),
        History::New,
        &own_service,
    )
    .is_ok()
}

#[test]
fn a_release_that_keeps_to_the_rules_is_accepted_by_both_ends() {
    for (name, change) in GOOD {
        let mut release = created("b2b2b2b2");
        change(&mut release);
        assert!(cloudly_accepts(&release), "Cloudly: {name}");
        assert!(agent_accepts(&release), "the agent: {name}");
    }
}

#[test]
fn a_release_that_breaks_a_rule_is_refused_by_both_ends() {
    for (name, change) in BAD {
        let mut release = created("b2b2b2b2");
        change(&mut release);
        assert!(!cloudly_accepts(&release), "Cloudly: {name}");
        assert!(!agent_accepts(&release), "the agent: {name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn one_end_accepts_what_the_other_accepts(release in any_release()) {
        prop_assert_eq!(agent_accepts(&release), cloudly_accepts(&release));
    }
}

/// An image of few repositories, so that they meet: by tag, by digest, by both or by neither, and perhaps with the digest
/// of what is in it.
fn any_image() -> impl Strategy<Value = Service> {
    let digest = |content: u8| format!("sha256:{}", content.to_string().repeat(64));
    let version = prop_oneof![
        4 => (1u8..4).prop_map(|tag| format!(":{tag}")),
        1 => Just(":latest".to_owned()),
        3 => (1u8..4).prop_map(move |content| format!("@{}", digest(content))),
        1 => (1u8..4).prop_map(move |content| format!(":1@{}", digest(content))),
        1 => Just(String::new()),
    ];
    let content = proptest::option::of((prop::sample::select(vec!["linux/amd64", "linux/arm64"]), 1u8..3));
    let repository = prop::sample::select(vec!["registry.example:5000/a", "registry.example:5000/a/b", "c"]);
    (repository, version, content).prop_map(move |(repository, version, content)| {
        let mut service = Service::of_image(format!("{repository}{version}"));
        service.platforms.extend(content.map(|(platform, content)| {
            let image = PlatformImage {
                config_digest: Some(digest(content)),
                size_bytes: None,
            };
            (platform.to_owned(), image)
        }));
        service
    })
}

/// Releases of the agent and two other services.
fn any_history() -> impl Strategy<Value = Vec<CreateRelease>> {
    let pair = (any_image(), proptest::option::of(any_image()));
    prop::collection::vec(pair, 1..6).prop_map(|images| {
        let release = |(number, (one, two)): (usize, (Service, Option<Service>))| {
            let mut release = created(&format!("b2b2b2b{number}"));
            release.services.insert("one".to_owned(), one);
            release.services.extend(two.map(|two| ("two".to_owned(), two)));
            release
        };
        images.into_iter().enumerate().map(release).collect()
    })
}

/// What Cloudly says to each release, beside those it accepted before.
fn cloudly_accepts_in_turn(history: &[CreateRelease]) -> Vec<bool> {
    let mut known: Vec<ImageUse<'_>> = Vec::new();
    let mut answers = Vec::new();
    for release in history {
        let services = release.services.iter();
        let uses: Vec<_> = services.map(|(name, service)| service.image_use(name)).collect();
        let accepted = check_images(&uses, &known).is_ok();
        if accepted {
            known.extend(uses);
        }
        answers.push(accepted);
    }
    answers
}

/// What the agent says to each release, on a device that was given those it accepted before.
fn agent_accepts_in_turn(history: &[CreateRelease]) -> Vec<bool> {
    let mut record = TargetRecord::default();
    let answer = |release: &CreateRelease| {
        let release = delivered(release.clone());
        let accepted = check_new_images(&record, &release, std::iter::empty()).is_ok();
        if accepted {
            plan(&mut record, &release, History::New, OWN).unwrap();
        }
        accepted
    };
    history.iter().map(answer).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn an_image_that_one_end_can_tell_apart_the_other_can_too(history in any_history()) {
        prop_assert_eq!(agent_accepts_in_turn(&history), cloudly_accepts_in_turn(&history));
    }
}

/// Otherwise the property above would say nothing.
#[test]
fn generated_histories_are_partly_accepted_and_partly_refused() {
    let mut runner = TestRunner::deterministic();
    let answers = (0..200).flat_map(|_| {
        let history = any_history().new_tree(&mut runner).unwrap().current();
        cloudly_accepts_in_turn(&history).into_iter().skip(1)
    });
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.partition(|accepted| *accepted);
    assert!(
        accepted.len() > 100 && refused.len() > 100,
        "{} {}",
        accepted.len(),
        refused.len()
    );
}

/// Otherwise the first property would say nothing.
#[test]
fn generated_releases_are_partly_accepted_and_partly_refused() {
    let mut runner = TestRunner::deterministic();
    let accepted = (0..500).filter(|_| {
        let release = any_release().new_tree(&mut runner).unwrap().current();
        cloudly_accepts(&release)
    });
    let accepted = accepted.count();
    assert!((100..400).contains(&accepted), "{accepted} of 500");
}
