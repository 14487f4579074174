//! What Cloudly accepts when a release is created, the agent accepts when it stages it, and the reverse, unless the
//! device itself stands against it.

use super::releases::{BAD, GOOD, any_release, created, delivered};
use crate::lifecycle::supervisor_target::builder::check;
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::rules::check_release;
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

/// Otherwise the property above would say nothing.
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
