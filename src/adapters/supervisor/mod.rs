//! The local Supervisor, over HTTP (architecture §4).
//!
//! [`SupervisorPort`] performs [`Effect::Supervisor`] and [`Effect::SetPollRate`]; [`poll`] polls the Supervisor at
//! that rate and yields changed observations; [`log_events`] reads its log all the time. All share a
//! [`SupervisorClient`], which has the API key. The key is a part of each URL (`?apikey=`), so no URL reaches an error,
//! an event or a log.
//!
//! Requests and answers follow the observed behaviour of Supervisor 19.0.5.

mod call;
mod client;
mod convert;
mod host_proxy;
mod http;
mod inspect;
mod lines;
mod log_line;
mod log_stream;
mod log_text;
mod poll;
mod request;
mod settings;
mod view;
mod wire;

pub use client::SupervisorClient;
pub use host_proxy::keep_host_proxy;
pub use log_stream::log_events;
pub use poll::{PollIntervals, poll};
pub use settings::{ConfigError, SupervisorSettings};

use crate::lifecycle::effect::{Effect, OpId, PollRate, SupervisorCall};
use crate::lifecycle::event::Event;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use tokio::sync::{mpsc, watch};
use tracing::error;

pub struct SupervisorPort {
    client: SupervisorClient,
    poll_rate: watch::Sender<PollRate>,
}

impl SupervisorPort {
    /// The rates of [`Effect::SetPollRate`] are sent to `poll_rate`, whose receiver is for [`poll`].
    pub fn new(client: SupervisorClient, poll_rate: watch::Sender<PollRate>) -> Self {
        Self { client, poll_rate }
    }

    /// Performs effects until the mailbox is closed and all received calls are done, or until `events` is closed.
    ///
    /// Calls run one at a time, in order; a change of the poll rate does not wait for them.
    pub async fn serve(self, mut mailbox: mpsc::Receiver<Effect>, events: mpsc::Sender<Event>) {
        let mut queue: VecDeque<(OpId, SupervisorCall)> = VecDeque::new();
        let mut running: Option<BoxFuture<'_, Event>> = None;
        let mut open = true;
        while open || running.is_some() {
            let next = tokio::select! {
                effect = mailbox.recv(), if open => Next::Effect(effect),
                event = finished(&mut running) => Next::Finished(event),
            };
            match next {
                Next::Effect(None) => open = false,
                Next::Effect(Some(Effect::Supervisor { op, call })) => queue.push_back((op, call)),
                Next::Effect(Some(Effect::SetPollRate { rate })) => {
                    self.poll_rate.send_replace(rate);
                }
                Next::Effect(Some(other)) => {
                    error!(effect = other.name(), port = ?other.port(), "bug: the Supervisor port received an effect of another port");
                }
                Next::Finished(event) => {
                    running = None;
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
            if running.is_none() {
                running = queue.pop_front().map(|(op, call)| self.perform(op, call).boxed());
            }
        }
    }

    async fn perform(&self, op: OpId, call: SupervisorCall) -> Event {
        let answer = Box::new(call::perform(&self.client, call).await);
        Event::SupervisorAnswered { op, answer }
    }
}

/// What the port has to handle next.
enum Next {
    Effect(Option<Effect>),
    Finished(Event),
}

/// Waits for the running call; forever if there is none.
async fn finished(running: &mut Option<BoxFuture<'_, Event>>) -> Event {
    match running {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
