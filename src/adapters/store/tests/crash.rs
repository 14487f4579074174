//! Power cuts between any two steps.

use super::*;
use crate::adapters::store::disk::{self, CURRENT, PREVIOUS, TEMP, TEMP_PREVIOUS};
use crate::vault::Vault;
use std::sync::{Arc, Mutex};

/// Copies of the directory before each step of `act`.
fn snapshots(file: &StateFile, dir: &Path, act: impl FnOnce(&StateFile)) -> Vec<tempfile::TempDir> {
    let taken: Arc<Mutex<Vec<tempfile::TempDir>>> = Arc::default();
    let (from, into) = (dir.to_owned(), Arc::clone(&taken));
    file.on_step(Some(Box::new(move |_| {
        let copy = tempfile::tempdir()?;
        for name in file_names(&from) {
            fs::copy(from.join(&name), copy.path().join(&name))?;
        }
        into.lock().unwrap().push(copy);
        Ok(())
    })));
    act(file);
    file.on_step(None);
    std::mem::take(&mut *taken.lock().unwrap())
}

#[test]
fn after_a_power_cut_at_any_step_the_old_or_the_new_document_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    let mut seen = [false; 2];
    // The first save has no current file, the second no previous one, the third both.
    for n in 1..=3 {
        for cut in snapshots(&file, dir.path(), |file| file.save_checkpoint(&n).unwrap()) {
            let opened = StateFile::open(cut.path()).unwrap();
            assert!(opened.recovered.is_none());
            let left = file_names(cut.path());
            assert!(
                !left.iter().any(|name| name == TEMP || name == TEMP_PREVIOUS),
                "{left:?}"
            );
            let found: u64 = opened
                .file
                .checkpoint()
                .and_then(|found| found.as_u64())
                .unwrap_or(0);
            assert!(found == n || found == n - 1, "{found} instead of {n}");
            seen[usize::from(found == n)] = true;
            // Further saves work.
            opened.file.save_checkpoint(&100).unwrap();
            opened.file.save_checkpoint(&101).unwrap();
            drop(opened);
            assert_eq!(open(cut.path()).checkpoint(), Some(json!(101)));
            fs::write(cut.path().join(CURRENT), "").unwrap();
            assert_eq!(open(cut.path()).checkpoint(), Some(json!(100)));
        }
    }
    assert_eq!(seen, [true, true], "both documents occurred");
}

#[test]
fn after_a_power_cut_a_damaged_newest_file_is_tolerated_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.save_checkpoint(&1).unwrap();
    file.save_checkpoint(&2).unwrap();
    for cut in snapshots(&file, dir.path(), |file| file.save_checkpoint(&3).unwrap()) {
        fs::write(cut.path().join(CURRENT), "x").unwrap();
        let found: u64 = open(cut.path())
            .checkpoint()
            .and_then(|found| found.as_u64())
            .unwrap();
        assert!((1..=2).contains(&found), "{found}");
    }
}

#[test]
fn a_token_rotation_cut_at_any_step_leaves_a_usable_token() {
    let (current, next) = (token(TokenKind::Node, 1), token(TokenKind::Node, 2));
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&current, "node_a").unwrap();
    let mut cuts = snapshots(&file, dir.path(), |file| file.store_next_token(&next).unwrap());
    cuts.extend(snapshots(&file, dir.path(), |file| {
        file.token_accepted(next.id()).unwrap();
    }));
    assert!(cuts.len() > 20, "{}", cuts.len());
    for cut in cuts {
        let file = open(cut.path());
        let first = file.node_token().unwrap();
        assert!([current.id(), next.id()].contains(&first.id()));
        file.token_refused(first.id());
        assert!(file.node_token().is_some());
    }
    drop(file);
    assert_eq!(open(dir.path()).node_token().unwrap().id(), next.id());
}

#[test]
fn a_save_separates_two_names_that_a_power_cut_left_for_one_file() {
    let dir = tempfile::tempdir().unwrap();
    {
        let file = open(dir.path());
        file.save_checkpoint(&1).unwrap();
        file.save_checkpoint(&2).unwrap();
    }
    // The state between the rename of the previous file and that of the newest.
    let (current, previous) = (dir.path().join(CURRENT), dir.path().join(PREVIOUS));
    fs::remove_file(&previous).unwrap();
    fs::hard_link(&current, &previous).unwrap();
    let file = open(dir.path());
    file.save_checkpoint(&3).unwrap();
    assert!(
        !dir.path().join(TEMP_PREVIOUS).exists(),
        "the second name must be removed, though renaming it over the first has no effect"
    );
    drop(file);
    fs::remove_file(&current).unwrap();
    assert_eq!(open(dir.path()).checkpoint(), Some(json!(2)));
}

#[test]
fn temporary_files_of_any_content_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).save_checkpoint(&1).unwrap();
    for name in [TEMP, TEMP_PREVIOUS] {
        fs::write(dir.path().join(name), "truncated docu").unwrap();
    }
    fs::write(dir.path().join(disk::RESERVE), "cut off").unwrap();
    let file = open(dir.path());
    assert_eq!(file_names(dir.path()), ["lock", disk::RESERVE, CURRENT]);
    assert_eq!(
        fs::metadata(dir.path().join(disk::RESERVE)).unwrap().len(),
        disk::RESERVE_BYTES
    );
    assert_eq!(file.checkpoint(), Some(json!(1)));
}

/// Child processes that are killed at a failpoint.
#[cfg(feature = "failpoints")]
mod killed {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "adapters::store::tests::crash::killed::child_saves_a_checkpoint";
    const DIR: &str = "STORE_CRASH_TEST_DIR";
    const FAILPOINT: &str = "STORE_CRASH_TEST_FAILPOINT";

    #[expect(
        clippy::disallowed_methods,
        reason = "the environment is how the child process gets its parameters"
    )]
    fn parameter(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// The program of the child process; without its parameters it does nothing.
    #[test]
    fn child_saves_a_checkpoint() {
        let Some(dir) = parameter(DIR) else { return };
        crate::failpoint::arm(parameter(FAILPOINT));
        let file = open(Path::new(&dir));
        file.save_checkpoint(&2).unwrap();
    }

    #[test]
    fn a_killed_process_leaves_the_old_or_the_new_checkpoint() {
        for (point, expected) in [
            ("store.before_temp", 1),
            ("store.after_temp_fsync:1", 1),
            ("store.before_rename", 1),
            ("store.after_rename", 2),
            ("store.after_rename:2", 2),
        ] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path()).save_checkpoint(&1).unwrap();
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", CHILD])
                .env(FAILPOINT, point)
                .env(DIR, dir.path())
                .output()
                .unwrap()
                .status;
            assert_eq!(status.signal(), (!point.ends_with(":2")).then_some(9), "{point}");
            assert_eq!(
                open(dir.path()).checkpoint().and_then(|found| found.as_u64()),
                Some(expected),
                "{point}"
            );
        }
    }
}
