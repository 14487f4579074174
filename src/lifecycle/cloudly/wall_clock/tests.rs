use super::*;
use proptest::prelude::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn built() -> Option<Timestamp> {
    Some(time("2026-11-24T00:00:00Z"))
}

fn stamp(boot_seconds: u64, wall: &str) -> Stamp {
    Stamp {
        boot: Millis(boot_seconds * 1000),
        wall: time(wall),
        entropy: 0,
    }
}

fn heard(server_time: &str, at_seconds: u64) -> Option<HeardTime> {
    let mut noted = None;
    HeardTime::hear(
        &mut noted,
        time(server_time),
        stamp(at_seconds, "1970-01-01T00:00:00Z"),
    );
    noted
}

fn rebooted(mut noted: Option<HeardTime>, saved_seconds: u64) -> Option<HeardTime> {
    noted.as_mut().unwrap().carry_over(Reboot {
        saved: Millis(saved_seconds * 1000),
        now: stamp(5, "1970-01-01T00:00:00Z"),
    });
    noted
}

fn is_implausible(judged: WallClock) -> bool {
    matches!(judged, WallClock::Implausible { .. })
}

#[test]
fn a_time_before_the_build_or_ten_years_after_it_is_implausible() {
    for (wall, implausible) in [
        ("1970-01-01T00:00:10Z", true),
        ("2026-11-23T23:59:59Z", true),
        ("2026-11-24T00:00:00Z", false),
        ("2036-11-01T00:00:00Z", false),
        ("2037-01-01T00:00:00Z", true),
    ] {
        let judged = WallClock::judge(built(), None, stamp(9, wall));
        assert_eq!(is_implausible(judged), implausible, "{wall}");
        assert_eq!(judged.problem(stamp(9, wall)).is_some(), implausible, "{wall}");
    }
}

#[test]
fn before_cloudly_was_heard_a_time_is_unconfirmed_a_year_after_the_build() {
    for (wall, since) in [("2027-11-01T00:00:00Z", None), ("2031-11-01T00:00:00Z", built())] {
        let judged = WallClock::judge(built(), None, stamp(9, wall));
        assert!(!is_implausible(judged), "{wall}");
        assert_eq!(judged.certificates_since(), since, "{wall}");
    }
}

#[test]
fn a_time_far_from_cloudlys_is_implausible_and_both_are_named() {
    let heard = heard("2027-03-01T12:00:00Z", 100);
    let day_later = 100 + 86_400;
    for (wall, implausible) in [
        ("2027-02-27T00:00:00Z", true),
        ("2027-03-01T00:00:00Z", false),
        ("2027-03-04T00:00:00Z", false),
        ("2027-03-05T00:00:00Z", true),
        ("2031-01-01T00:00:00Z", true),
    ] {
        let judged = WallClock::judge(built(), heard, stamp(day_later, wall));
        assert_eq!(is_implausible(judged), implausible, "{wall}");
    }
    let now = stamp(day_later, "2031-01-01T00:00:00Z");
    let problem = WallClock::judge(built(), heard, now).problem(now).unwrap();
    assert_eq!(
        problem,
        "the device's clock says 2031-01-01, Cloudly's 2027-03-02"
    );
}

#[test]
fn after_a_reboot_a_clock_ahead_is_unconfirmed_and_one_behind_is_implausible() {
    let heard = rebooted(heard("2027-03-01T12:00:00Z", 100), 100 + 3600);
    let at = |wall: &str| WallClock::judge(built(), heard, stamp(10, wall));
    let ahead = at("2028-01-01T00:00:00Z");
    assert!(matches!(ahead, WallClock::Unconfirmed { .. }), "{ahead:?}");
    assert_eq!(ahead.certificates_since(), built());
    assert_eq!(ahead.problem(stamp(10, "2028-01-01T00:00:00Z")), None);
    assert_eq!(at("2027-03-01T13:00:00Z"), WallClock::Plausible);
    assert!(is_implausible(at("2026-12-01T00:00:00Z")));
}

#[test]
fn a_cloudly_that_lives_in_2099_or_1970_does_not_make_a_right_clock_wrong() {
    for server_time in ["2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        let now = stamp(20, "2027-03-01T12:00:00Z");
        let judged = WallClock::judge(built(), heard(server_time, 10), now);
        assert_eq!(judged, WallClock::Plausible, "{server_time}");
    }
}

#[test]
fn the_time_of_cloudly_is_noted_once_a_day_and_when_it_moves() {
    let mut noted = heard("2027-03-01T12:00:00Z", 100);
    let first = noted;
    HeardTime::hear(
        &mut noted,
        time("2027-03-01T13:00:20Z"),
        stamp(3700, "1970-01-01T00:00:00Z"),
    );
    assert_eq!(noted, first, "20 s of drift");
    HeardTime::hear(
        &mut noted,
        time("2027-03-01T13:02:00Z"),
        stamp(3700, "1970-01-01T00:00:00Z"),
    );
    assert_ne!(noted, first, "two minutes of drift");
    let moved = noted;
    HeardTime::hear(
        &mut noted,
        time("2027-03-02T13:02:01Z"),
        stamp(3700 + 86_401, "1970-01-01T00:00:00Z"),
    );
    assert_ne!(noted, moved, "a day later");
    let mut noted = rebooted(noted, 200_000);
    HeardTime::hear(
        &mut noted,
        time("2027-03-03T00:00:00Z"),
        stamp(10, "1970-01-01T00:00:00Z"),
    );
    assert!(!noted.unwrap().rebooted);
}

proptest! {
    /// Whatever Cloudly's clock has said, the build alone bounds the certificates: no ratchet.
    #[test]
    fn no_answer_moves_the_bound_for_certificates(heard in 0i64..9_000_000_000, wall in 0i64..9_000_000_000, boot in 0u64..10_000_000) {
        let mut noted = None;
        let stamp = |boot, wall| Stamp { boot: Millis(boot), wall: Timestamp::from_second(wall).unwrap(), entropy: 0 };
        HeardTime::hear(&mut noted, Timestamp::from_second(heard).unwrap(), stamp(boot / 2, wall));
        let since = WallClock::judge(built(), noted, stamp(boot, wall)).certificates_since();
        prop_assert!(since.is_none() || since == built());
    }
}
