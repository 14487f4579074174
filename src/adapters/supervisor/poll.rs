//! Looking at the Supervisor again and again.

use super::client::{SupervisorClient, error};
use super::view::{Known, look};
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind, SupervisorView};
use futures_util::{Stream, stream};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How often it is asked again whether the Supervisor wants a key.
const DOUBT_MANAGED: Duration = Duration::from_secs(600);

/// From one look to the next, by poll rate.
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

/// Looks at the Supervisor, at once and then at the rate that was last set, and yields `Event::Observed` whenever
/// the view, or the kind of the error, differs from what was yielded last. A new rate takes effect at once and
/// brings a look with it. The stream never ends; without a Supervisor it says so once.
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
        doubt: None,
        known: Known::default(),
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
    /// Made at the first look, inside the runtime.
    interval: Option<(PollRate, Interval)>,
    doubt: Option<Interval>,
    known: Known,
    last: Option<Result<SupervisorView, SupervisorErrorKind>>,
}

enum Chosen {
    Look,
    Rate(bool),
    Doubt,
}

impl Poller {
    async fn next(&mut self) -> Event {
        let mut rate_is_set = true;
        loop {
            let rate = *self.rate.borrow_and_update();
            if !self.client.is_configured() && self.last.is_some() {
                return std::future::pending().await;
            }
            let interval = match &mut self.interval {
                Some((of, interval)) if *of == rate => interval,
                other => &mut other.insert((rate, self.intervals.interval(rate))).1,
            };
            let doubt = self.doubt.get_or_insert_with(|| every(DOUBT_MANAGED));
            let chosen = tokio::select! {
                biased;
                set = self.rate.changed(), if rate_is_set => Chosen::Rate(set.is_ok()),
                _ = doubt.tick() => Chosen::Doubt,
                _ = interval.tick() => Chosen::Look,
            };
            match chosen {
                Chosen::Rate(still) => rate_is_set = still,
                Chosen::Doubt => self.known.doubt_managed(),
                Chosen::Look => {
                    if let Some(event) = self.look().await {
                        return event;
                    }
                }
            }
        }
    }

    /// What it saw, if that is something else than what it said last.
    async fn look(&mut self) -> Option<Event> {
        let seen = self.look_in_time().await;
        let news = seen.clone().map_err(|error| error.kind);
        if self.last.as_ref() == Some(&news) {
            return None;
        }
        self.last = Some(news);
        Some(Event::SupervisorObserved(Box::new(seen)))
    }

    /// A look is several requests, each with a deadline; this one is for all of them.
    async fn look_in_time(&mut self) -> Result<SupervisorView, SupervisorError> {
        let all = self.client.call_deadline() * 2;
        if !self.client.is_configured() {
            return look(&self.client, &mut self.known).await;
        }
        match timeout(all, look(&self.client, &mut self.known)).await {
            Ok(seen) => seen,
            Err(_) => {
                self.known = Known::default();
                Err(error(
                    SupervisorErrorKind::Unavailable,
                    "looking at the Supervisor took too long".to_owned(),
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

/// The first tick comes at once; a late one does not bring the next ones closer. A period of zero, which tokio
/// does not take, becomes one millisecond.
pub(super) fn every(period: Duration) -> Interval {
    let mut interval = interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
