//! Open requests, which wait for the machine's answer.

use crate::lifecycle::effect::{LocalAnswer, RequestId};
use crate::lifecycle::event::{Event, LocalCall};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::problem::Problem;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Time limit of the machine's answer. It answers within one step, so only a blocked loop reaches this.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The table of open requests.
pub(super) struct Pending {
    events: mpsc::Sender<Event>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    closed: bool,
    waiting: HashMap<RequestId, oneshot::Sender<LocalAnswer>>,
}

impl Pending {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            open: Mutex::default(),
        }
    }

    /// Sends a call to the machine and waits for its answer.
    pub(super) async fn ask(&self, call: LocalCall) -> Result<LocalAnswer, Problem> {
        let Some((entry, answer)) = self.enter() else {
            return Err(stopping());
        };
        let asked = async {
            self.events
                .send(Event::LocalRequested {
                    request: entry.id,
                    call,
                })
                .await
                .ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(stopping()),
            Err(_) => Err(Problem::new(503, ProblemCode::Unavailable, "The agent did not answer in time.")
                .detail("It may have taken the request up all the same: look at the status before asking again.")
                .retry_after(Some(10))),
        }
    }

    /// Passes the machine's answer to the client, if it is still connected.
    pub(super) fn reply(&self, request: RequestId, answer: LocalAnswer) {
        let waiting = self.lock().waiting.remove(&request);
        let delivered = waiting.is_some_and(|client| client.send(answer).is_ok());
        if !delivered {
            tracing::debug!(
                request = request.0,
                "the client of the local API left before its answer"
            );
        }
    }

    /// For the end of the agent: ends all waiting requests and refuses new ones.
    pub(super) fn close(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.waiting.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn enter(&self) -> Option<(Entry<'_>, oneshot::Receiver<LocalAnswer>)> {
        let (sender, receiver) = oneshot::channel();
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        open.last += 1;
        let id = RequestId(open.last);
        open.waiting.insert(id, sender);
        Some((Entry { table: self, id }, receiver))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // No critical section panics half-way, so the table is consistent even when the lock is poisoned.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the entry however waiting ends: with an answer, by a timeout, or because the client disconnected and hyper
/// dropped the future.
struct Entry<'a> {
    table: &'a Pending,
    id: RequestId,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.table.lock().waiting.remove(&self.id);
    }
}

fn stopping() -> Problem {
    Problem::new(503, ProblemCode::Unavailable, "The agent is stopping.").retry_after(Some(5))
}
