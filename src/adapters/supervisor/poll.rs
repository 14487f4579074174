//! Polls the Supervisor.

use super::client::SupervisorClient;
use super::http::supervisor_error;
use super::view::{Cache, read_view, read_view_with_images};
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind, SupervisorView};
use futures_util::{Stream, stream};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How often it is checked again whether the Supervisor requires a key.
const MANAGED_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// The interval of each poll rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollIntervals {
    pub slow: Duration,
    pub fast: Duration,
}

impl Default for PollIntervals {
    fn default() -> Self {
        Self {
            slow: Duration::from_secs(30),
            fast: Duration::from_secs(2),
        }
    }
}

/// Polls the Supervisor, at once and then at the rate that was last set, and yields [`Event::SupervisorObserved`] when
/// the view or the kind of error differs from the last one. A new rate takes effect at once, with a poll. The stream
/// never ends; if no Supervisor is configured, it yields that error once.
pub fn poll(
    client: SupervisorClient,
    intervals: PollIntervals,
    rate: watch::Receiver<PollRate>,
) -> impl Stream<Item = Event> + Send {
    let poller = Poller {
        client,
        intervals,
        rate,
        interval: None,
        managed_check: None,
        cache: Cache::default(),
        last: None,
    };
    stream::unfold(poller, |mut poller| async {
        let event = poller.next().await;
        Some((event, poller))
    })
}

struct Poller {
    client: SupervisorClient,
    intervals: PollIntervals,
    rate: watch::Receiver<PollRate>,
    /// Created at the first poll, because it needs the runtime.
    interval: Option<(PollRate, Interval)>,
    managed_check: Option<Interval>,
    cache: Cache,
    last: Option<Result<SupervisorView, SupervisorErrorKind>>,
}

/// What the poller does next.
enum Next {
    Poll,
    /// The rate has changed; false: it will not change any more.
    Rate(bool),
    CheckManaged,
}

impl Poller {
    async fn next(&mut self) -> Event {
        let mut rate_can_change = true;
        loop {
            let rate = *self.rate.borrow_and_update();
            if !self.client.is_configured() && self.last.is_some() {
                return std::future::pending().await;
            }
            let interval = match &mut self.interval {
                Some((of, interval)) if *of == rate => interval,
                other => &mut other.insert((rate, self.intervals.interval(rate))).1,
            };
            let managed_check = self
                .managed_check
                .get_or_insert_with(|| every(MANAGED_CHECK_INTERVAL));
            let next = tokio::select! {
                biased;
                changed = self.rate.changed(), if rate_can_change => Next::Rate(changed.is_ok()),
                _ = managed_check.tick() => Next::CheckManaged,
                _ = interval.tick() => Next::Poll,
            };
            match next {
                Next::Rate(can_change) => rate_can_change = can_change,
                Next::CheckManaged => self.cache.forget_managed(),
                Next::Poll => {
                    if let Some(event) = self.poll().await {
                        return event;
                    }
                }
            }
        }
    }

    /// The observation as an event, if it differs from the last one.
    async fn poll(&mut self) -> Option<Event> {
        let observed = self.observe().await;
        let current = observed.clone().map_err(|error| error.kind);
        if self.last.as_ref() == Some(&current) {
            return None;
        }
        self.last = Some(current);
        Some(Event::SupervisorObserved(Box::new(observed)))
    }

    /// Reads the view. Each of its requests has a timeout, and all of them together have another one.
    async fn observe(&mut self) -> Result<SupervisorView, SupervisorError> {
        if !self.client.is_configured() {
            return read_view(&self.client, &mut self.cache).await;
        }
        let limit = self.client.call_timeout() * 2;
        // While something is being put in place the images may change without anything else.
        let always = *self.rate.borrow() == PollRate::Fast;
        match timeout(
            limit,
            read_view_with_images(&self.client, &mut self.cache, always),
        )
        .await
        {
            Ok(observed) => observed,
            Err(_) => {
                self.cache = Cache::default();
                Err(supervisor_error(
                    SupervisorErrorKind::Unavailable,
                    "the poll of the Supervisor took too long".to_owned(),
                ))
            }
        }
    }
}

impl PollIntervals {
    fn interval(self, rate: PollRate) -> Interval {
        every(match rate {
            PollRate::Slow => self.slow,
            PollRate::Fast => self.fast,
        })
    }
}

/// The first tick comes at once, and a late tick delays the following ones. A period of zero, which tokio rejects,
/// becomes one millisecond.
pub(super) fn every(period: Duration) -> Interval {
    let mut interval = interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
