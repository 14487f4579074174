//! Facts about the machine: space and foreign locks as they change, and what it is, once.

mod identity;

pub use identity::{architecture, boot_id, hardware_id, hostname, run_id};

use crate::lifecycle::event::Event;
use crate::lifecycle::facts::HostFacts;
use futures_util::stream::{self, Stream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Free space is reported in steps of this, bytes.
const STEP: u64 = 16 * 1024 * 1024;

/// What the poller looks at.
pub struct Watched {
    /// Where the state lives, and on the same file system the images.
    pub state_dir: PathBuf,
    /// Finds the paths of foreign lock files that hold updates back.
    pub foreign_locks: Box<dyn Fn() -> Vec<String> + Send>,
}

/// Looks at the host every `period` and yields [`Event::HostObserved`] at once and then whenever something is
/// different. It never ends; a look that fails says so by a missing fact.
///
/// Free space is rounded down to steps of 16 MiB, and goes up only when it is a whole step above: space that
/// moves around a step's edge is not news.
pub fn poll(watched: Watched, period: Duration) -> impl Stream<Item = Event> + Send {
    // A poller has an interval of its own: what it observes are facts, and no decision hangs on when.
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
                let facts = look(&poller.watched, poller.last.as_ref());
                if poller.last.as_ref() != Some(&facts) {
                    poller.last = Some(facts.clone());
                    return Some((Event::HostObserved(facts), poller));
                }
            }
        },
    )
}

fn look(watched: &Watched, last: Option<&HostFacts>) -> HostFacts {
    let free = free_bytes(&watched.state_dir);
    HostFacts {
        free_bytes: free.map(|free| settle(free, last.and_then(|last| last.free_bytes))),
        foreign_locks: (watched.foreign_locks)(),
    }
}

/// The free bytes of the file system `path` is on, as far as this user may take them.
fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path)
        .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "cannot measure free space"))
        .ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn settle(free: u64, last: Option<u64>) -> u64 {
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
            foreign_locks: Box::new(foreign_locks),
        }
    }

    fn facts(event: Event) -> HostFacts {
        match event {
            Event::HostObserved(facts) => facts,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reports_the_first_look_at_once_and_then_only_what_is_different() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("updates.lock");
        let looked_for = lock.clone();
        let watched = watched(dir.path(), move || {
            let found = looked_for.exists();
            found
                .then(|| looked_for.to_string_lossy().into_owned())
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
        let seen = facts(events.next().await.unwrap());
        assert_eq!(seen.foreign_locks, [lock.to_string_lossy()]);
        fs::remove_file(&lock).unwrap();
        assert!(facts(events.next().await.unwrap()).foreign_locks.is_empty());
    }

    #[test]
    fn a_path_that_is_not_there_has_no_free_space_to_report() {
        let watched = watched(Path::new("/nonexistent"), Vec::new);
        assert_eq!(look(&watched, None), HostFacts::default());
    }

    proptest! {
        #[test]
        fn what_is_reported_never_exceeds_what_is_there_and_never_lags_by_two_steps(
            path in prop::collection::vec(0u64..(1 << 32), 1..50),
        ) {
            let mut last = None;
            for free in path {
                let reported = settle(free, last);
                prop_assert!(reported <= free && free - reported < 2 * STEP);
                prop_assert_eq!(reported % STEP, 0);
                last = Some(reported);
            }
        }

        #[test]
        fn space_around_an_edge_is_not_news(edge in 1u64..1000, jitter in prop::collection::vec(-1000i64..1000, 2..50)) {
            let edge = edge * STEP;
            let mut last = Some(settle(edge - 1, None));
            for by in jitter {
                let reported = settle(edge.saturating_add_signed(by), last);
                prop_assert_eq!(Some(reported), last);
                last = Some(reported);
            }
        }
    }
}
