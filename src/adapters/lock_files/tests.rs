use super::*;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::os::unix::fs::chown;

fn locks(dir: &Path) -> LockFiles {
    LockFiles {
        uid: 0,
        ..LockFiles::new(dir)
    }
}

fn holders(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks a lock as `safe_reboot` does.
fn is_flocked(path: &Path) -> bool {
    flock(
        File::open(path).unwrap(),
        FlockOperation::NonBlockingLockExclusive,
    )
    .is_err()
}

fn both(dir: &Path) -> [PathBuf; 2] {
    NAMES.map(|name| dir.join(name))
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Replaces the first lock file by a foreign one and removes the second.
fn replace_first_and_remove_second(dir: &Path) {
    let [current, legacy] = both(dir);
    fs::remove_file(&current).unwrap();
    fs::write(&current, "foreign").unwrap();
    fs::remove_file(&legacy).unwrap();
}

#[test]
fn holding_creates_both_files_tagged_and_flocked_until_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks = locks(dir.path());
    assert_eq!(locks.hold(&holders(&["onebox: backup"])), None);
    for path in both(dir.path()) {
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"owner\":\"baserunner\",\"holders\":[\"onebox: backup\"]}\n"
        );
        assert!(is_flocked(&path));
    }
    assert_eq!(entries(dir.path()), 2, "no other file remains");
    assert!(foreign(dir.path()).is_empty(), "own files are not foreign");
    assert_eq!(locks.release(), None);
    assert_eq!(entries(dir.path()), 0);
    assert_eq!(locks.release(), None, "releasing twice is no problem");
}

#[test]
fn holding_again_updates_the_holders_in_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks = locks(dir.path());
    locks.hold(&holders(&["a longer name", "b"]));
    locks.hold(&holders(&["c"]));
    for path in both(dir.path()) {
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"owner\":\"baserunner\",\"holders\":[\"c\"]}\n"
        );
        assert!(is_flocked(&path));
    }
}

#[test]
fn a_foreign_lock_is_reported_and_unchanged_while_the_other_file_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let [current, legacy] = both(dir.path());
    for content in ["", "1234", "{\"owner\":\"backup\"}", "{\"owner\":\"baserunner\"}"] {
        fs::write(&current, content).unwrap();
        let mut locks = locks(dir.path());
        let problem = locks.hold(&holders(&["x"])).unwrap();
        assert!(
            problem.contains("updates.lock") && problem.contains("another program"),
            "{problem}"
        );
        assert!(!problem.contains("resin"), "{problem}");
        assert_eq!(
            foreign(dir.path()),
            [ForeignLock {
                path: current.clone(),
                transient: false
            }]
        );
        assert!(is_flocked(&legacy));
        locks.release();
        assert_eq!(fs::read_to_string(&current).unwrap(), content);
        assert!(!legacy.exists());
    }
}

#[test]
fn a_directory_or_a_dangling_link_of_that_name_is_a_foreign_lock() {
    let dir = tempfile::tempdir().unwrap();
    let [current, legacy] = both(dir.path());
    fs::create_dir(&current).unwrap();
    std::os::unix::fs::symlink("/nonexistent", &legacy).unwrap();
    assert_eq!(foreign(dir.path()).len(), 2);
    let mut locks = locks(dir.path());
    let problem = locks.hold(&[]).unwrap();
    assert_eq!(problem.matches("another program").count(), 2, "{problem}");
    locks.release();
    assert!(current.is_dir() && legacy.is_symlink());
}

#[test]
fn a_file_is_held_once_the_foreign_lock_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let [current, _] = both(dir.path());
    fs::write(&current, "").unwrap();
    let mut locks = locks(dir.path());
    locks.hold(&[]).unwrap();
    fs::remove_file(&current).unwrap();
    assert_eq!(locks.hold(&[]), None);
    assert!(is_flocked(&current));
}

#[test]
fn the_supervisors_own_locks_are_foreign_and_transient() {
    let dir = tempfile::tempdir().unwrap();
    let [current, _] = both(dir.path());
    fs::write(&current, "0").unwrap();
    if chown(&current, Some(SUPERVISOR_UID), None).is_err() {
        return; // Needs root.
    }
    assert_eq!(
        foreign(dir.path()),
        [ForeignLock {
            path: current.clone(),
            transient: true
        }]
    );
    let problem = locks(dir.path()).hold(&[]).unwrap();
    assert!(problem.contains("Supervisor"), "{problem}");
    assert!(current.exists());
}

#[test]
fn holding_adopts_the_files_of_a_killed_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = locks(dir.path());
    killed.hold(&holders(&["old"]));
    drop(killed);
    let [current, _] = both(dir.path());
    assert!(
        current.exists() && !is_flocked(&current),
        "the file stays, the flock does not"
    );
    let mut next = locks(dir.path());
    assert_eq!(next.hold(&holders(&["new"])), None);
    assert!(is_flocked(&current) && fs::read_to_string(&current).unwrap().contains("new"));
}

#[test]
fn releasing_removes_the_files_of_a_killed_agent() {
    let dir = tempfile::tempdir().unwrap();
    locks(dir.path()).hold(&[]);
    assert_eq!(entries(dir.path()), 2);
    assert_eq!(locks(dir.path()).release(), None);
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn the_files_of_a_running_agent_are_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = locks(dir.path());
    first.hold(&holders(&["first"]));
    let mut second = locks(dir.path());
    let problem = second.hold(&holders(&["second"])).unwrap();
    assert!(problem.contains("another baserunner"), "{problem}");
    second.release();
    drop(second);
    for path in both(dir.path()) {
        assert!(is_flocked(&path) && fs::read_to_string(&path).unwrap().contains("first"));
    }
}

#[test]
fn holding_leaves_a_file_that_replaced_an_own_one_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let [current, legacy] = both(dir.path());
    let mut locks = locks(dir.path());
    locks.hold(&[]);
    replace_first_and_remove_second(dir.path());
    let problem = locks.hold(&[]).unwrap();
    assert!(
        problem.contains("another program") && is_flocked(&legacy),
        "{problem}"
    );
    assert_eq!(locks.release(), None);
    assert_eq!(fs::read_to_string(&current).unwrap(), "foreign");
    assert!(!legacy.exists());
}

#[test]
fn releasing_leaves_a_file_that_replaced_an_own_one_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let [current, _] = both(dir.path());
    let mut locks = locks(dir.path());
    locks.hold(&[]);
    replace_first_and_remove_second(dir.path());
    assert_eq!(locks.release(), None);
    assert_eq!(fs::read_to_string(&current).unwrap(), "foreign");
}

#[test]
fn a_missing_directory_is_reported_with_the_volume_to_mount() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks = locks(&dir.path().join("none"));
    let problem = locks.hold(&[]).unwrap();
    assert!(
        problem.contains("volume") && problem.contains("BASEOS_LOCK_DIR"),
        "{problem}"
    );
    assert_eq!(locks.release(), None);
    locks.adopt();
    assert!(foreign(&dir.path().join("none")).is_empty());
}

#[test]
fn no_file_is_held_under_the_supervisors_uid() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks = LockFiles {
        uid: SUPERVISOR_UID,
        ..LockFiles::new(dir.path())
    };
    let problem = locks.hold(&[]).unwrap();
    assert!(problem.contains("65534"), "{problem}");
    assert_eq!(locks.release(), None);
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn a_leftover_temporary_file_is_no_lock_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".baserunner-lock.new"), "half").unwrap();
    assert!(foreign(dir.path()).is_empty());
    assert_eq!(locks(dir.path()).hold(&[]), None);
    assert_eq!(entries(dir.path()), 2);
}

#[tokio::test]
async fn the_port_answers_each_effect_and_leaves_the_files_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    locks(dir.path()).hold(&[]);
    let (effects, mailbox) = tokio::sync::mpsc::channel(4);
    let (results, mut events) = tokio::sync::mpsc::channel(4);
    let port = tokio::spawn(locks(dir.path()).serve(mailbox, results));
    let hold = |op, holder| Effect::HoldLockFiles {
        op: OpId(op),
        holders: holders(&[holder]),
    };
    let settled = |op| {
        Some(Event::LockFilesSettled {
            op: OpId(op),
            problem: None,
        })
    };
    effects.send(hold(1, "a")).await.unwrap();
    assert_eq!(events.recv().await, settled(1));
    effects.send(Effect::Stop).await.unwrap();
    let release = Effect::ReleaseLockFiles { op: OpId(2) };
    effects.send(release).await.unwrap();
    assert_eq!(events.recv().await, settled(2));
    effects.send(hold(3, "b")).await.unwrap();
    assert_eq!(events.recv().await, settled(3));
    drop(effects);
    port.await.unwrap();
    let [current, _] = both(dir.path());
    assert!(current.exists() && !is_flocked(&current));
}

#[test]
fn the_supervisors_own_locks_do_not_block_updates() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("updates.lock");
    fs::write(&lock, "0").unwrap();
    assert_eq!(look(dir.path()).foreign, [lock.to_string_lossy()]);
    if chown(&lock, Some(SUPERVISOR_UID), None).is_err() {
        return; // Needs root.
    }
    assert!(look(dir.path()).foreign.is_empty());
}

#[test]
fn a_look_counts_own_files_and_names_foreign_ones() {
    let dir = tempfile::tempdir().unwrap();
    let [current, legacy] = both(dir.path());
    let mut locks = locks(dir.path());
    assert_eq!(look(dir.path()), LockDir::default());
    locks.hold(&holders(&["x"]));
    assert_eq!(look(dir.path()).own, 2);
    fs::remove_file(&current).unwrap();
    assert_eq!(look(dir.path()).own, 1);
    fs::write(&current, "foreign").unwrap();
    let seen = look(dir.path());
    assert_eq!((seen.own, seen.foreign.len()), (1, 1));
    locks.release();
    assert!(!legacy.exists());
    assert_eq!(
        look(&dir.path().join("missing")).problem,
        None,
        "there is none to write"
    );
}

#[test]
fn a_directory_of_another_user_alone_is_told_apart_from_one_that_is_read_only() {
    let dir = Path::new("/tmp/balena");
    let roots = denial(dir, 0, 0o755, 10_001);
    assert!(
        roots.contains("belongs to user 0 alone (mode 755)") && roots.contains("user 10001"),
        "{roots}"
    );
    for closed in [denial(dir, 0, 0o1777, 10_001), denial(dir, 10_001, 0o500, 10_001)] {
        assert!(closed.contains("is it mounted read-only?"), "{closed}");
    }
    let own = tempfile::tempdir().unwrap();
    assert_eq!(not_writable(own.path()), None);
    assert_eq!(
        not_writable(&own.path().join("missing")),
        None,
        "there is none to write"
    );
}

#[test]
fn an_own_directory_that_lost_its_mode_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let [current, _] = both(dir.path());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let mut locks = LockFiles::new(dir.path());
    assert_eq!(locks.hold(&holders(&["x"])), None);
    assert!(current.exists());
}
