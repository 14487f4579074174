use super::*;

#[test]
fn a_policy_of_zeros_still_gives_one_attempt_and_a_second_for_it() {
    let zeros = Policy::from(&wire::Policy {
        max_defer_seconds: 0,
        max_attempts: 0,
        health_seconds: 0,
        apply_timeout_seconds: 0,
        ..wire::Policy::default()
    });
    assert_eq!(zeros.apply_timeout(), Duration::from_secs(1));
    assert_eq!(zeros.health(), Duration::ZERO);
    assert_eq!(zeros.max_defer(), Duration::ZERO);
    assert_eq!(zeros.max_attempts(), 1);
}

#[test]
fn the_default_policy_is_the_documented_one() {
    let policy = Policy::default();
    assert_eq!(policy.apply_timeout(), Duration::from_secs(3600));
    assert_eq!(policy.health(), Duration::from_secs(120));
    assert_eq!(policy.max_defer(), Duration::from_secs(7 * 86_400));
    assert_eq!(policy.max_attempts(), 3);
    assert!(policy.rolls_back && !policy.is_forced());
}

#[test]
fn an_unknown_failure_policy_counts_as_report() {
    let json = r#"{"onFailure":"reformat"}"#;
    let policy: wire::Policy = serde_json::from_str(json).unwrap();
    assert!(!Policy::from(&policy).rolls_back);
}
