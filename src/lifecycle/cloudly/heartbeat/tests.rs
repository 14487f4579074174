use super::*;
use baseos_interfaces::states::AgentState;
use baseos_interfaces::status::{
    AgentStatus, HealthStatus, NetworkStatus, OsStatus, SupervisorStatus, UpdateStatus,
};

fn at(seconds: u64) -> Stamp {
    let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Stamp {
        boot: Millis(seconds * 1000),
        wall,
        entropy: 7,
    }
}

fn instructions(now: Stamp, interval: u32) -> Instructions {
    Instructions {
        server_time: now.wall,
        next_heartbeat_seconds: interval,
        resend_full_status: false,
        desired: None,
        commands: Vec::new(),
        approval: None,
        clone_suspected: false,
    }
}

fn heartbeats() -> Heartbeats {
    let mut heartbeats = Heartbeats::default();
    heartbeats.configure(&Node::unknown(None));
    heartbeats
}

fn sent() -> Sent {
    Sent {
        hash: "9f2c".into(),
        carried: Filled::default(),
        goodbye: false,
    }
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
fn spreads_cloudlys_interval_by_a_fifth() {
    let mut heartbeats = heartbeats();
    heartbeats.accepted(&instructions(at(0), 100), Some("node_1"), at(0));
    for second in 1..50 {
        let due = heartbeats
            .accepted(&instructions(at(second), 100), Some("node_1"), at(second))
            .since(at(second).boot);
        assert!((80..=120).contains(&due.as_secs()), "{due:?}");
    }
}

#[test]
fn a_regular_heartbeat_keeps_to_the_minimum_unless_cloudly_asks_for_more() {
    let mut heartbeats = heartbeats();
    heartbeats.accepted(&instructions(at(0), 60), Some("node_1"), at(0));
    for (interval, least) in [(10, 10), (11, 10), (5, 5)] {
        for entropy in 0..5000 {
            let now = Stamp { entropy, ..at(1) };
            let due = heartbeats
                .accepted(&instructions(now, interval), Some("node_1"), now)
                .since(now.boot);
            assert!(due >= Duration::from_secs(least), "{due:?} of {interval} s");
        }
    }
}

#[test]
fn an_absurd_interval_is_clamped() {
    let mut heartbeats = heartbeats();
    heartbeats.accepted(&instructions(at(0), 0), Some("node_1"), at(0));
    let hurried = heartbeats
        .accepted(&instructions(at(1), 0), Some("node_1"), at(1))
        .since(at(1).boot);
    assert!(hurried >= Duration::from_secs(1));
    let lazy = heartbeats
        .accepted(&instructions(at(2), u32::MAX), Some("node_1"), at(2))
        .since(at(2).boot);
    assert!(lazy <= Duration::from_secs(86_400 * 6 / 5));
}

#[test]
fn a_retry_after_is_waited_for_and_an_accepted_call_resets_the_back_off() {
    let mut heartbeats = heartbeats();
    let wait = heartbeats.failed(&failure(Some(77)), at(0)).since(at(0).boot);
    assert!(
        wait >= Duration::from_secs(77) && wait <= Duration::from_secs(97),
        "{wait:?}"
    );
    for _ in 0..30 {
        assert!(heartbeats.failed(&failure(None), at(0)).since(at(0).boot) <= Duration::from_secs(900));
    }
    assert_eq!(heartbeats.failures(), 31);
    heartbeats.accepted(&instructions(at(9), 60), Some("node_1"), at(9));
    assert_eq!((heartbeats.failures(), heartbeats.last_failure()), (0, None));
}

#[test]
fn an_urgent_heartbeat_waits_for_cloudlys_minimum() {
    let mut heartbeats = heartbeats();
    heartbeats.begin(sent(), at(100).boot);
    heartbeats.urge();
    assert_eq!(heartbeats.urgent_at(at(103).boot), Some(at(110).boot));
    assert_eq!(heartbeats.urgent_at(at(112).boot), Some(at(112).boot));
    heartbeats.failed(&failure(None), at(104));
    assert_eq!(
        heartbeats.urgent_at(at(105).boot),
        None,
        "while calls fail the back-off decides"
    );
}

#[test]
fn reports_skew_from_five_minutes_on_and_keeps_cloudlys_clock() {
    let mut heartbeats = heartbeats();
    let ten_years = Timestamp::from_second(at(0).wall.as_second() + 315_360_000).unwrap();
    heartbeats.hear_clock(
        at(0).wall,
        Stamp {
            wall: ten_years,
            ..at(0)
        },
    );
    assert_eq!(
        heartbeats.skew_seconds(Stamp {
            wall: ten_years,
            ..at(0)
        }),
        Some(315_360_000)
    );
    assert_eq!(heartbeats.skew_seconds(at(299)), None);
    assert_eq!(heartbeats.server_now(at(60).boot), Some(at(60).wall));
}

#[test]
fn a_status_is_hashed_again_only_when_it_differs_from_the_last_one() {
    let status = |ip: &str| NodeStatus {
        supervisor: SupervisorStatus::default(),
        os: OsStatus::default(),
        agent: AgentStatus {
            version: "0.1.0".into(),
            started_at: at(0).wall,
            restart_count: 0,
            state: AgentState::Idle,
            guard: None,
        },
        release: None,
        update: UpdateStatus::default(),
        rollout: None,
        network: NetworkStatus {
            ip_addresses: vec![ip.to_owned()],
            mac_addresses: Vec::new(),
        },
        health: HealthStatus::default(),
    };
    let mut heartbeats = heartbeats();
    assert_eq!(heartbeats.hash_of(&status("10.0.4.17")), None);
    heartbeats.note_hash(status("10.0.4.17"), "9f2c".into());
    assert_eq!(heartbeats.hash_of(&status("10.0.4.17")), Some("9f2c"));
    assert_eq!(heartbeats.hash_of(&status("10.0.4.18")), None);
    heartbeats.failed(&failure(None), at(1));
    assert_eq!(heartbeats.hash_of(&status("10.0.4.17")), Some("9f2c"));
}
