//! The event stream: a ring buffer of the last notices, which each listener reads at its own position.

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use baseos_interfaces::local::Notice;
use futures_util::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Number of notices that are kept for listeners that reconnect.
pub(super) const KEPT: usize = 256;
/// Limit of listeners: half of all connections, so that requests always get one.
pub(super) const LISTENERS: usize = 16;
/// Interval of comments on an idle stream, by which both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The last notices of this run.
pub(super) struct Notices {
    /// Prefix of each id, by which an id of an earlier run is recognised.
    run: String,
    ring: Mutex<VecDeque<Kept>>,
    /// The number of the last notice, counted from 1.
    last: watch::Sender<u64>,
    seats: Arc<Semaphore>,
}

#[derive(Clone)]
struct Kept {
    number: u64,
    kind: &'static str,
    json: Arc<str>,
}

impl Notices {
    pub(super) fn new(run: String) -> Self {
        let seats = Arc::new(Semaphore::new(LISTENERS));
        Self {
            run,
            ring: Mutex::default(),
            last: watch::Sender::new(0),
            seats,
        }
    }

    /// Appends a notice and wakes the listeners.
    pub(super) fn publish(&self, notice: &Notice) {
        let kind = match notice {
            Notice::Transition { .. } => "transition",
            Notice::Progress { .. } => "progress",
            Notice::Blocked { .. } => "blocked",
        };
        let json = match serde_json::to_string(notice) {
            Ok(json) => json.into(),
            Err(error) => return tracing::error!(%error, "a notice cannot be written as JSON"),
        };
        let mut ring = self.ring();
        let number = *self.last.borrow() + 1;
        ring.push_back(Kept { number, kind, json });
        if ring.len() > KEPT {
            ring.pop_front();
        }
        self.last.send_replace(number);
    }

    /// A stream that continues after the notice with this id; without an id it starts now. `None`: too many listeners.
    ///
    /// After an id of an earlier run or an unknown one all kept notices follow: better twice than never.
    pub(super) fn listen(
        self: &Arc<Self>,
        after: Option<&str>,
        stop: &CancellationToken,
    ) -> Option<impl IntoResponse + use<>> {
        let seat = self.seats.clone().try_acquire_owned().ok()?;
        let news = self.last.subscribe();
        let last = *news.borrow();
        let next = match after {
            None => last + 1,
            Some(id) => self
                .number(id)
                .filter(|number| *number <= last)
                .map_or(1, |number| number + 1),
        };
        let listener = Listener {
            notices: self.clone(),
            next,
            told_gap: false,
            news,
            stop: stop.clone(),
            _seat: seat,
        };
        let events = stream::unfold(listener, async |mut listener| {
            let event = listener.next().await?;
            Some((Ok::<_, Infallible>(event), listener))
        });
        Some(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }

    fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.run)?.strip_prefix('.')?.parse().ok()
    }

    /// The first kept notice with at least this number.
    fn from(&self, number: u64) -> Option<Kept> {
        let ring = self.ring();
        let first = ring.front()?.number;
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        ring.get(skip).cloned()
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // No critical section panics half-way, so the ring buffer is consistent even when the lock is poisoned.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener. It reads from the ring buffer, so a slow one costs no memory; it misses notices that were overwritten
/// and is told so.
struct Listener {
    notices: Arc<Notices>,
    next: u64,
    told_gap: bool,
    news: watch::Receiver<u64>,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.news.mark_unchanged();
            if let Some(kept) = self.notices.from(self.next) {
                if kept.number > self.next && !self.told_gap {
                    self.told_gap = true;
                    return Some(Event::default().event("gap").data(r#"{"type":"gap"}"#));
                }
                self.told_gap = false;
                self.next = kept.number + 1;
                let id = format!("{}.{}", self.notices.run, kept.number);
                return Some(Event::default().id(id).event(kept.kind).data(&*kept.json));
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                news = self.news.changed() => news.ok()?,
            }
        }
    }
}
