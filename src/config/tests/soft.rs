//! Settings that the agent can do without never keep it from starting, and never come with a release.

use super::*;
use std::collections::BTreeMap;

#[test]
fn an_optional_setting_that_is_not_right_counts_as_not_set() {
    let settings = load_env(&[
        ("BALENA_SERVICE_NAME", "edge"),
        ("BASEOS_SERVICE", "a b"),
        ("BASEOS_LOG", "loud"),
        ("BASEOS_LOG_FORMAT", "xml"),
        ("BASEOS_SUPERVISOR_POLL", "often"),
        ("BASEOS_API_HOSTS", "box:80"),
        ("BASEOS_AGENT_URL", "tcp://x"),
        ("BASEOS_LABELS", "site"),
        ("BASEOS_RESERVE_BYTES", "much"),
        ("BASEOS_JOURNAL_BYTES", "1"),
        ("BASEOS_GUARD_BUDGET", "5x"),
        ("BASEOS_PROXY", "ftp://proxy"),
        ("BASEOS_NO_PROXY", "a b"),
        ("BALENA_SUPERVISOR_ADDRESS", "s:1"),
        ("BALENA_SUPERVISOR_API_KEY", "k"),
    ])
    .unwrap();
    let usual = load_env(&[("BALENA_SERVICE_NAME", "edge")]).unwrap();
    assert_eq!(settings.service, "edge");
    assert_eq!(settings.supervisor_poll, usual.supervisor_poll);
    assert_eq!(
        (settings.reserve_bytes, settings.journal_bytes),
        (usual.reserve_bytes, usual.journal_bytes)
    );
    assert_eq!((settings.api_hosts, settings.api), (usual.api_hosts, usual.api));
    assert_eq!(settings.guard_budget, usual.guard_budget);
    assert!(settings.proxy.is_none() && settings.supervisor.is_none());
    assert_eq!(settings.problems.len(), 13);
    let warned = settings
        .warnings
        .iter()
        .filter(|warning| warning.ends_with("it counts as not set"));
    assert_eq!(warned.count(), 13);
}

#[test]
fn a_key_of_the_file_that_is_not_known_counts_as_not_set() {
    let settings = load_all("node_nam = 'x'\nnode_name = 'edge'", &[], &Overrides::default()).unwrap();
    assert_eq!(settings.node_name.as_deref(), Some("edge"));
    let problem = settings.problems[0].to_string();
    assert!(problem.contains("is `node_name` meant?"), "{problem}");
}

#[test]
fn the_effective_value_of_a_setting_that_is_not_right_is_its_default() {
    let settings = load_env(&[("BASEOS_SUPERVISOR_POLL", "often")]).unwrap();
    assert_eq!(
        effective(&settings, "BASEOS_SUPERVISOR_POLL"),
        (Some("30s".to_owned()), Some("default".to_owned()))
    );
}

fn checked(pairs: &[(&str, &str)]) -> Vec<String> {
    let environment = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    check_environment(&environment.collect::<BTreeMap<_, _>>(), "baserunner")
}

#[test]
fn an_environment_that_an_agent_starts_with_is_taken() {
    for pairs in [
        &[][..],
        &[
            ("BASEOS_CLOUDLY_URL", "https://cloudly.example"),
            ("OTHER", "x y"),
        ],
        &[("BASEOS_SERVICE", "baserunner"), ("BASEOS_SUPERVISOR_POLL", "")],
        &[
            ("BASEOS_CLOUDLY_CA", "/etc/ca.pem"),
            ("BASEOS_CLOUDLY_URL", "https://c"),
        ],
        &[("BASEOS_CLOUDLY_CA", PEM), ("BASEOS_JOIN_TOKEN", "szj_typo")],
    ] {
        assert_eq!(checked(pairs), [""; 0], "{pairs:?}");
    }
}

#[test]
fn an_environment_that_would_stop_an_agent_is_refused_with_every_reason() {
    for (name, value, why) in [
        (
            "BASEOS_CLOUDLY_URL",
            "http://cloudly.example",
            "BASEOS_ALLOW_HTTP=1",
        ),
        ("BASEOS_ALLOW_HTTP", "maybe", "1 or 0"),
        ("BASEOS_CLOUDLY_CA", "-----BEGIN CERTIFICATE-----", "copied whole"),
        ("BASEOS_SUPERVISOR_POLL", "often", "like 30s"),
        ("BASEOS_SERVICE", "onebox", "would refuse every release"),
    ] {
        let found = checked(&[(name, value)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(name) && found[0].contains(why), "{found:?}");
    }
    let both = checked(&[("BASEOS_LOG", "loud"), ("BASEOS_ALLOW_HTTP", "maybe")]);
    assert_eq!(both.len(), 2, "{both:?}");
}
