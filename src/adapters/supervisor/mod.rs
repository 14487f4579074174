//! The local Supervisor, over HTTP (architecture §4).
//!
//! [`SupervisorPort`] performs `Effect::Supervisor` calls and `Effect::SetPollRate`; [`poll`] looks at the Supervisor at
//! that rate and emits what it sees when it differs; [`service_exits`] reads its log while the rate is fast. All share
//! a [`SupervisorClient`], which has the API key and never shows it: the key stands in the URL (`?apikey=`), so no URL
//! reaches an error, an event or a log.
//!
//! Source of what is sent and understood: observed behaviour of Supervisor 19.0.5.

mod call;
mod client;
mod exit_log;
mod inspect;
mod lines;
mod poll;
mod request;
mod settings;
mod view;
mod wire;

pub use client::SupervisorClient;
pub use exit_log::service_exits;
pub use poll::{PollIntervals, poll};
pub use settings::{ConfigError, SupervisorSettings};

use crate::lifecycle::effect::{Effect, OpId, PollRate, SupervisorCall};
use crate::lifecycle::event::Event;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use tokio::sync::{mpsc, watch};
use tracing::error;

/// The port to the Supervisor.
pub struct SupervisorPort {
    client: SupervisorClient,
    poll_rate: watch::Sender<PollRate>,
}

impl SupervisorPort {
    /// A port whose `Effect::SetPollRate` sets `poll_rate`; the other end of it goes to [`poll`].
    pub fn new(client: SupervisorClient, poll_rate: watch::Sender<PollRate>) -> Self {
        Self { client, poll_rate }
    }

    /// Performs effects until the mailbox closes (and what was begun is done) or nobody takes results any more.
    ///
    /// Calls run one at a time, in order; a change of the poll rate does not wait for them.
    pub async fn serve(self, mut mailbox: mpsc::Receiver<Effect>, events: mpsc::Sender<Event>) {
        let mut queue: VecDeque<(OpId, SupervisorCall)> = VecDeque::new();
        let mut running: Option<BoxFuture<'_, Event>> = None;
        let mut open = true;
        while open || running.is_some() {
            let chosen = tokio::select! {
                effect = mailbox.recv(), if open => Chosen::Effect(effect),
                event = finished(&mut running) => Chosen::Finished(event),
            };
            match chosen {
                Chosen::Effect(None) => open = false,
                Chosen::Effect(Some(Effect::Supervisor { op, call })) => queue.push_back((op, call)),
                Chosen::Effect(Some(Effect::SetPollRate { rate })) => {
                    self.poll_rate.send_replace(rate);
                }
                Chosen::Effect(Some(other)) => {
                    error!(effect = other.name(), port = ?other.port(), "this effect is not for the Supervisor port: a bug in the dispatcher");
                }
                Chosen::Finished(event) => {
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

enum Chosen {
    Effect(Option<Effect>),
    Finished(Event),
}

/// The result of the call under way; never, when none is.
async fn finished(running: &mut Option<BoxFuture<'_, Event>>) -> Event {
    match running {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
