//! The clock of the server, which tests can move.

use baseos_interfaces::Timestamp;
use jiff::SignedDuration;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it; clones move together.
    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(at))))
    }

    /// To the millisecond, as times are stored: the same time is answered before and after a restart.
    pub fn now(&self) -> Timestamp {
        timestamp(millis(self.read()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one reader of the system's clock in Cloudly"
    )]
    fn read(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; does nothing to the system's.
    pub fn advance(&self, seconds: i64) {
        if let Source::Manual(at) = &self.0 {
            let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
            *at = at
                .saturating_add(SignedDuration::from_secs(seconds))
                .unwrap_or(*at);
        }
    }
}

/// Unix milliseconds, as times are stored.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A stored time; one out of range (a damaged row) becomes the epoch.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `at` moved by so many seconds, within the range of `Timestamp`.
pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
