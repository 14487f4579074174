use super::*;

fn lock(holder: Option<&str>, since: i64) -> Blocker {
    let since = Timestamp::from_second(since).unwrap();
    Blocker::new(BlockerKind::LocalLock, since).held_by(holder.map(str::to_owned))
}

#[test]
fn the_same_reason_keeps_its_beginning() {
    let before = [lock(Some("onebox"), 10), lock(Some("backup"), 20)];
    assert_eq!(
        lock(Some("backup"), 99).continuing(&before),
        lock(Some("backup"), 20)
    );
}

#[test]
fn another_holder_or_kind_begins_anew() {
    let before = [lock(Some("onebox"), 10)];
    let backup = lock(Some("backup"), 99);
    assert_eq!(backup.clone().continuing(&before), backup);
    let window = Blocker::new(BlockerKind::Window, Timestamp::UNIX_EPOCH);
    assert_eq!(window.clone().continuing(&before), window);
    assert_eq!(backup.clone().continuing(&[]), backup);
}

#[test]
fn a_holder_that_becomes_known_or_unknown_is_the_same_reason() {
    let (named, unnamed) = (lock(Some("/lock"), 20), lock(None, 10));
    let now = |holder: Option<&str>| lock(holder, 99);
    let since = |blocker: Blocker| blocker.since.as_second();
    assert_eq!(
        since(now(Some("/lock")).continuing(std::slice::from_ref(&unnamed))),
        10
    );
    assert_eq!(since(now(None).continuing(std::slice::from_ref(&named))), 20);
    assert_eq!(since(now(Some("/lock")).continuing(&[unnamed, named])), 20);
}
