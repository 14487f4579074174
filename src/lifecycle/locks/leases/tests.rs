use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Stamp {
    Stamp {
        boot: Millis(seconds * 1000),
        wall: Timestamp::UNIX_EPOCH,
        entropy: 0,
    }
}

fn request(ttl_seconds: u32) -> LockRequest {
    LockRequest {
        reason: "backup".into(),
        ttl_seconds,
        scope: LockScope::App,
    }
}

fn acquire(leases: &mut Leases, owner: &str, draining: bool, now: u64) -> Result<Lock, Problem> {
    leases.acquire("backup", owner, &request(300), draining, 24 * HOUR, at(now))
}

#[test]
fn a_renewal_keeps_the_fencing_number_and_a_new_holder_gets_a_higher_one() {
    let mut leases = Leases::default();
    let first = acquire(&mut leases, "onebox", false, 0).unwrap();
    let renewed = acquire(&mut leases, "onebox", false, 200).unwrap();
    assert_eq!(
        (first.fencing, renewed.fencing, renewed.remaining_seconds),
        (1, 1, 300)
    );
    assert_eq!(leases.expire(Millis(500_000)).len(), 1);
    assert_eq!(acquire(&mut leases, "other", false, 501).unwrap().fencing, 2);
}

#[test]
fn another_owners_lease_is_neither_taken_nor_released() {
    let mut leases = Leases::default();
    acquire(&mut leases, "onebox", false, 0).unwrap();
    let refused = acquire(&mut leases, "other", false, 100).unwrap_err();
    assert_eq!((refused.status, refused.retry_after_seconds), (423, Some(200)));
    assert_eq!(
        leases.release("backup", "other", Millis(0)).unwrap_err().status,
        423
    );
    leases.release("backup", "onebox", Millis(0)).unwrap();
    leases.release("backup", "onebox", Millis(0)).unwrap();
    assert!(leases.owners().is_empty());
}

#[test]
fn while_draining_only_renewals_are_given() {
    let mut leases = Leases::default();
    acquire(&mut leases, "onebox", false, 0).unwrap();
    acquire(&mut leases, "onebox", true, 100).unwrap();
    let refused = leases
        .acquire("second", "onebox", &request(300), true, 24 * HOUR, at(100))
        .unwrap_err();
    assert_eq!((refused.status, refused.retry_after_seconds), (423, Some(300)));
}

#[test]
fn renewals_end_at_the_longest_time_the_policy_allows() {
    let mut leases = Leases::default();
    let mut renew = |now| leases.acquire("backup", "onebox", &request(3600), false, HOUR, at(now));
    assert_eq!(renew(0).unwrap().remaining_seconds, 3600);
    assert_eq!(renew(3000).unwrap().remaining_seconds, 600, "cut at the longest");
    assert_eq!(renew(3600).unwrap_err().status, 423);
}

#[test]
fn bad_requests_are_answered_with_each_member_and_what_is_right() {
    let mut leases = Leases::default();
    let bad = LockRequest {
        reason: String::new(),
        ttl_seconds: 3601,
        scope: LockScope::App,
    };
    let problem = leases
        .acquire("backup", "onebox", &bad, false, HOUR, at(0))
        .unwrap_err();
    let errors: Vec<_> = problem
        .errors
        .iter()
        .map(|error| (error.pointer.as_str(), error.code.as_str()))
        .collect();
    assert_eq!(
        (problem.status, errors),
        (422, vec![("/reason", "empty"), ("/ttlSeconds", "outOfRange")])
    );
    let right = "reason has 1 to 200 characters, ttlSeconds is 1 to 3600 seconds";
    assert_eq!(problem.detail.as_deref(), Some(right));
}
