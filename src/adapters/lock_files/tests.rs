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

/// Looks at a lock as `safe_reboot` does.
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

#[test]
fn both_files_exist_tagged_and_flocked_until_released() {
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
    assert_eq!(entries(dir.path()), 2, "nothing else is left there");
    assert!(foreign(dir.path()).is_empty(), "ours are not foreign");
    assert_eq!(locks.release(), None);
    assert_eq!(entries(dir.path()), 0);
    assert_eq!(locks.release(), None, "again is not wrong");
}

#[test]
fn holding_again_says_who_holds_now_in_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks = locks(dir.path());
    locks.hold(&holders(&["a rather long name", "b"]));
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
fn a_foreign_lock_is_reported_and_never_touched_and_the_other_file_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let [today, before] = both(dir.path());
    for content in ["", "1234", "{\"owner\":\"backup\"}", "{\"owner\":\"baserunner\"}"] {
        fs::write(&today, content).unwrap();
        let mut locks = locks(dir.path());
        let problem = locks.hold(&holders(&["x"])).unwrap();
        assert!(
            problem.contains("updates.lock") && problem.contains("somebody else"),
            "{problem}"
        );
        assert!(!problem.contains("resin"), "{problem}");
        assert_eq!(
            foreign(dir.path()),
            [ForeignLock {
                path: today.clone(),
                transient: false
            }]
        );
        assert!(is_flocked(&before));
        locks.release();
        assert_eq!(fs::read_to_string(&today).unwrap(), content);
        assert!(!before.exists());
    }
}

#[test]
fn anything_of_that_name_is_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let [today, before] = both(dir.path());
    fs::create_dir(&today).unwrap();
    std::os::unix::fs::symlink("/nonexistent", &before).unwrap();
    assert_eq!(foreign(dir.path()).len(), 2);
    let mut locks = locks(dir.path());
    let problem = locks.hold(&[]).unwrap();
    assert_eq!(problem.matches("somebody else").count(), 2, "{problem}");
    locks.release();
    assert!(today.is_dir() && before.is_symlink());
}

#[test]
fn a_foreign_lock_that_goes_is_held_by_the_next_hold() {
    let dir = tempfile::tempdir().unwrap();
    let [today, _] = both(dir.path());
    fs::write(&today, "").unwrap();
    let mut locks = locks(dir.path());
    locks.hold(&[]).unwrap();
    fs::remove_file(&today).unwrap();
    assert_eq!(locks.hold(&[]), None);
    assert!(is_flocked(&today));
}

#[test]
fn the_supervisors_own_locks_are_foreign_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let [today, _] = both(dir.path());
    fs::write(&today, "0").unwrap();
    if chown(&today, Some(SUPERVISOR_UID), None).is_err() {
        return; // Only root can try this.
    }
    assert_eq!(
        foreign(dir.path()),
        [ForeignLock {
            path: today.clone(),
            transient: true
        }]
    );
    let problem = locks(dir.path()).hold(&[]).unwrap();
    assert!(problem.contains("Supervisor"), "{problem}");
    assert!(today.exists());
}

#[test]
fn files_a_killed_agent_left_are_adopted_by_holding() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = locks(dir.path());
    killed.hold(&holders(&["old"]));
    drop(killed);
    let [today, _] = both(dir.path());
    assert!(
        today.exists() && !is_flocked(&today),
        "the file stays, the flock does not"
    );
    let mut next = locks(dir.path());
    assert_eq!(next.hold(&holders(&["new"])), None);
    assert!(is_flocked(&today) && fs::read_to_string(&today).unwrap().contains("new"));
}

#[test]
fn files_a_killed_agent_left_are_removed_by_releasing() {
    let dir = tempfile::tempdir().unwrap();
    locks(dir.path()).hold(&[]);
    assert_eq!(entries(dir.path()), 2);
    assert_eq!(locks(dir.path()).release(), None);
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn a_living_agents_files_are_not_taken() {
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
fn a_file_that_took_the_place_of_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [today, before] = both(dir.path());
    let mut locks = locks(dir.path());
    locks.hold(&[]);
    fs::remove_file(&today).unwrap();
    fs::write(&today, "theirs").unwrap();
    fs::remove_file(&before).unwrap();
    let problem = locks.hold(&[]).unwrap();
    assert!(
        problem.contains("somebody else") && is_flocked(&before),
        "{problem}"
    );
    assert_eq!(locks.release(), None);
    assert_eq!(fs::read_to_string(&today).unwrap(), "theirs");
    assert!(!before.exists());
}

#[test]
fn a_replaced_file_is_not_unlinked_by_releasing_either() {
    let dir = tempfile::tempdir().unwrap();
    let [today, before] = both(dir.path());
    let mut locks = locks(dir.path());
    locks.hold(&[]);
    fs::remove_file(&today).unwrap();
    fs::write(&today, "theirs").unwrap();
    fs::remove_file(&before).unwrap();
    assert_eq!(locks.release(), None);
    assert_eq!(fs::read_to_string(&today).unwrap(), "theirs");
}

#[test]
fn a_missing_directory_is_a_problem_that_says_what_to_mount() {
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
fn as_the_supervisors_uid_nothing_is_held() {
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
fn a_leftover_of_a_kill_while_creating_is_no_lock_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".baserunner-lock.new"), "half").unwrap();
    assert!(foreign(dir.path()).is_empty());
    assert_eq!(locks(dir.path()).hold(&[]), None);
    assert_eq!(entries(dir.path()), 2);
}

#[tokio::test]
async fn the_port_settles_each_effect_and_leaves_the_files_to_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    locks(dir.path()).hold(&[]);
    let (effects, mailbox) = tokio::sync::mpsc::channel(4);
    let (results, mut events) = tokio::sync::mpsc::channel(4);
    let port = tokio::spawn(locks(dir.path()).serve(mailbox, results));
    effects
        .send(Effect::HoldLockFiles {
            op: OpId(1),
            holders: holders(&["a"]),
        })
        .await
        .unwrap();
    assert_eq!(
        events.recv().await,
        Some(Event::LockFilesSettled {
            op: OpId(1),
            problem: None
        })
    );
    effects.send(Effect::Stop).await.unwrap();
    effects
        .send(Effect::ReleaseLockFiles { op: OpId(2) })
        .await
        .unwrap();
    assert_eq!(
        events.recv().await,
        Some(Event::LockFilesSettled {
            op: OpId(2),
            problem: None
        })
    );
    effects
        .send(Effect::HoldLockFiles {
            op: OpId(3),
            holders: holders(&["b"]),
        })
        .await
        .unwrap();
    assert!(events.recv().await.is_some());
    drop(effects);
    port.await.unwrap();
    let [today, _] = both(dir.path());
    assert!(today.exists() && !is_flocked(&today));
}

#[test]
fn the_supervisors_own_locks_block_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("updates.lock");
    fs::write(&lock, "0").unwrap();
    assert_eq!(blocking(dir.path()), [lock.to_string_lossy()]);
    if chown(&lock, Some(SUPERVISOR_UID), None).is_err() {
        return; // Only root can try this.
    }
    assert!(blocking(dir.path()).is_empty());
}
