//! The time limits of a call.

use super::error::HttpError;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Until the head of the answer, and between two pieces of its body.
    pub(crate) progress: Option<Duration>,
    /// The whole call, from connecting to the end of the answer.
    pub(crate) total: Option<Duration>,
}

/// The limits of a call that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    progress: Option<Duration>,
    end: Option<Instant>,
}

impl Limits {
    pub(super) fn begin(self) -> Clock {
        Clock {
            progress: self.progress,
            end: self.total.map(|total| now() + total),
        }
    }
}

impl Clock {
    /// Waits for one step of the answer.
    pub(super) async fn step<T>(&self, work: impl Future<Output = T>) -> Result<T, HttpError> {
        let (step, end) = (self.progress.map(|progress| now() + progress), self.end);
        match step.into_iter().chain(end).min() {
            Some(limit) => timeout_at(limit, work).await.map_err(|_| HttpError::Timeout),
            None => Ok(work.await),
        }
    }

    /// When a connection must stand that may take this long.
    pub(super) fn connected_by(&self, within: Duration) -> Instant {
        let limit = now() + within;
        self.end.map_or(limit, |end| end.min(limit))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time limits of a call belong to its connection; no decision depends on them"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
