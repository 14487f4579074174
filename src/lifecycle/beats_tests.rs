use super::*;
use baseos_interfaces::register::Approval;

fn at(seconds: u64) -> Stamp {
    let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Stamp {
        boot: Millis(seconds * 1000),
        wall,
        entropy: 7,
    }
}

fn orders(now: Stamp, interval: u32) -> Orders {
    Orders {
        server_time: now.wall,
        next_heartbeat_seconds: interval,
        resend_full_status: false,
        desired: None,
        commands: Vec::new(),
        approval: None,
        clone_suspected: false,
    }
}

fn beats() -> Beats {
    let mut beats = Beats::default();
    beats.configure(&Node {
        id: "node_1".into(),
        approval: Approval::Approved,
        approval_reason: None,
        fleet: None,
        confirmed: false,
        enrolled_epoch: 1,
        min_heartbeat_seconds: 10,
        heartbeat_seconds: 60,
    });
    beats
}

fn failure(retry_after_seconds: Option<u32>) -> CallFailure {
    CallFailure {
        kind: CallFailureKind::Unavailable,
        code: None,
        message: "busy".into(),
        retry_after_seconds,
        next_heartbeat_seconds: None,
    }
}

#[test]
fn the_interval_is_cloudly_s_with_a_fifth_of_jitter() {
    let mut beats = beats();
    beats.accepted(&orders(at(0), 100), "node_1", at(0));
    for second in 1..50 {
        let due = beats
            .accepted(&orders(at(second), 100), "node_1", at(second))
            .since(at(second).boot);
        assert!((80..=120).contains(&due.as_secs()), "{due:?}");
    }
}

#[test]
fn an_absurd_interval_neither_stops_nor_floods() {
    let mut beats = beats();
    beats.accepted(&orders(at(0), 0), "node_1", at(0));
    let hurried = beats
        .accepted(&orders(at(1), 0), "node_1", at(1))
        .since(at(1).boot);
    assert!(hurried >= Duration::from_millis(800));
    let lazy = beats
        .accepted(&orders(at(2), u32::MAX), "node_1", at(2))
        .since(at(2).boot);
    assert!(lazy <= Duration::from_secs(86_400 * 6 / 5));
}

#[test]
fn retry_after_wins_over_the_back_off_and_an_accepted_call_resets_it() {
    let mut beats = beats();
    assert_eq!(
        beats.failed(&failure(Some(77)), at(0)).since(at(0).boot),
        Duration::from_secs(77)
    );
    for _ in 0..30 {
        assert!(beats.failed(&failure(None), at(0)).since(at(0).boot) <= Duration::from_secs(900));
    }
    assert_eq!(beats.failures(), 31);
    beats.accepted(&orders(at(9), 60), "node_1", at(9));
    assert_eq!((beats.failures(), beats.last_failure()), (0, None));
}

#[test]
fn an_urgent_heartbeat_waits_for_the_minimum_but_the_last_word_of_an_update_does_not() {
    let mut beats = beats();
    beats.number(at(100).boot);
    beats.urge();
    assert_eq!(beats.urgent_at(false, at(103).boot), Some(at(110).boot));
    assert_eq!(beats.urgent_at(true, at(103).boot), Some(at(103).boot));
    beats.failed(&failure(None), at(104));
    assert_eq!(
        beats.urgent_at(true, at(105).boot),
        None,
        "while calls fail the back-off decides"
    );
}

#[test]
fn skew_is_reported_from_five_minutes_on_and_the_server_s_clock_goes_on() {
    let mut beats = beats();
    let ten_years = Timestamp::from_second(at(0).wall.as_second() + 315_360_000).unwrap();
    beats.hear_clock(
        at(0).wall,
        Stamp {
            wall: ten_years,
            ..at(0)
        },
    );
    assert_eq!(
        beats.skew_seconds(Stamp {
            wall: ten_years,
            ..at(0)
        }),
        Some(315_360_000)
    );
    assert_eq!(beats.skew_seconds(at(299)), None);
    assert_eq!(beats.server_now(at(60).boot), Some(at(60).wall));
}
