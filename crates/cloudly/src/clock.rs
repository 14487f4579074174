//! Time as an argument: the server asks one clock, and tests move it.

use baseos_interfaces::Timestamp;
use jiff::SignedDuration;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the server gets the time from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it; clones move together.
    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(at))))
    }

    /// The time, to the millisecond, as it is stored: what is told once is what is told after a restart.
    pub fn now(&self) -> Timestamp {
        timestamp(millis(self.read()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one reader of the machine's clock in Cloudly"
    )]
    fn read(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; the machine's clock goes its own way.
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

/// A stored time; one outside the range of time (a damaged row) becomes the epoch rather than an error.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `at` moved by so many seconds; stops at the ends of time.
pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
