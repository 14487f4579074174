//! Facts about the device: free space and foreign locks, polled; its identity, read once.

mod guard_report;
mod identity;

pub use guard_report::guard_report;
pub use identity::{architecture, boot_id, hardware_id, hostname, run_id};

use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{HostFacts, LockDir, StateOwner};
use futures_util::stream::{self, Stream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Granularity in which free space is reported, bytes.
const STEP: u64 = 16 * 1024 * 1024;

/// What the poller observes.
pub struct Watched {
    /// The state directory, which is on the same file system as the images.
    pub state_dir: PathBuf,
    /// Looks at the lock directory.
    pub locks: Box<dyn Fn() -> LockDir + Send>,
}

/// Polls the host every `period` and yields [`Event::HostObserved`] at first and then on every change. It never ends;
/// a fact that cannot be read is absent.
///
/// Free space is rounded down to steps of 16 MiB and rises only by a full step above the reported value, so that
/// space fluctuating around a step's edge yields no events.
pub fn poll(watched: Watched, period: Duration) -> impl Stream<Item = Event> + Send {
    // An interval of its own is allowed here, because no decision depends on when facts are observed.
    struct Poller {
        watched: Watched,
        interval: Interval,
        last: Option<HostFacts>,
    }
    let mut interval = interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold(
        Poller {
            watched,
            interval,
            last: None,
        },
        |mut poller| async move {
            loop {
                poller.interval.tick().await;
                let facts = observe(&poller.watched, poller.last.as_ref());
                if poller.last.as_ref() != Some(&facts) {
                    poller.last = Some(facts.clone());
                    return Some((Event::HostObserved(facts), poller));
                }
            }
        },
    )
}

fn observe(watched: &Watched, last: Option<&HostFacts>) -> HostFacts {
    let free = free_bytes(&watched.state_dir);
    let locks = (watched.locks)();
    HostFacts {
        free_bytes: free.map(|free| reported(free, last.and_then(|last| last.free_bytes))),
        guard: guard_report(&watched.state_dir),
        foreign_locks: locks.foreign,
        own_locks: Some(locks.own),
        lock_dir_problem: locks.problem,
    }
}

/// Whose a directory is.
pub fn owner(directory: &Path) -> Option<StateOwner> {
    let found = std::fs::metadata(directory).ok()?;
    Some(StateOwner {
        uid: found.uid(),
        gid: found.gid(),
        mode: found.mode() & 0o7777,
    })
}

/// The bytes of the file system of `path` that this user may allocate.
fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path)
        .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "cannot measure free space"))
        .ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The value to report for `free` after `last` was reported.
fn reported(free: u64, last: Option<u64>) -> u64 {
    match last {
        Some(last) if free >= last && free < last.saturating_add(2 * STEP) => last,
        _ => free - free % STEP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use proptest::prelude::*;
    use std::fs;

    fn watched(state_dir: &Path, foreign_locks: impl Fn() -> Vec<String> + Send + 'static) -> Watched {
        Watched {
            state_dir: state_dir.to_owned(),
            locks: Box::new(move || LockDir {
                foreign: foreign_locks(),
                ..LockDir::default()
            }),
        }
    }

    fn facts(event: Event) -> HostFacts {
        match event {
            Event::HostObserved(facts) => facts,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reports_the_first_facts_at_once_and_then_only_changes() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("updates.lock");
        let lock_path = lock.clone();
        let watched = watched(dir.path(), move || {
            let found = lock_path.exists();
            found
                .then(|| lock_path.to_string_lossy().into_owned())
                .into_iter()
                .collect()
        });
        let mut events = Box::pin(poll(watched, Duration::from_secs(30)));
        let first = facts(events.next().await.unwrap());
        assert!(first.free_bytes.unwrap().is_multiple_of(STEP));
        assert!(first.foreign_locks.is_empty());

        let quiet = tokio::time::timeout(Duration::from_secs(3600), events.next()).await;
        assert!(quiet.is_err() || facts(quiet.unwrap().unwrap()).foreign_locks.is_empty());

        fs::write(&lock, "").unwrap();
        let changed = facts(events.next().await.unwrap());
        assert_eq!(changed.foreign_locks, [lock.to_string_lossy()]);
        fs::remove_file(&lock).unwrap();
        assert!(facts(events.next().await.unwrap()).foreign_locks.is_empty());
    }

    #[test]
    fn a_missing_path_reports_no_free_space() {
        let watched = watched(Path::new("/nonexistent"), Vec::new);
        assert_eq!(observe(&watched, None).free_bytes, None);
    }

    proptest! {
        #[test]
        fn reported_space_is_at_most_the_real_space_and_less_than_two_steps_below(
            series in prop::collection::vec(0u64..(1 << 32), 1..50),
        ) {
            let mut last = None;
            for free in series {
                let reported = reported(free, last);
                prop_assert!(reported <= free && free - reported < 2 * STEP);
                prop_assert_eq!(reported % STEP, 0);
                last = Some(reported);
            }
        }

        #[test]
        fn space_fluctuating_around_a_step_is_reported_once(
            edge in 1u64..1000,
            jitter in prop::collection::vec(-1000i64..1000, 2..50),
        ) {
            let edge = edge * STEP;
            let mut last = Some(reported(edge - 1, None));
            for change in jitter {
                let reported = reported(edge.saturating_add_signed(change), last);
                prop_assert_eq!(Some(reported), last);
                last = Some(reported);
            }
        }
    }
}
