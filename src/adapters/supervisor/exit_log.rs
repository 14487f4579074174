//! Listening to the Supervisor's log for services that end.
//!
//! The state it reports does not show a container that ends again and again under `restart: always`: it stays
//! `Running`, with the same id (observed). Its log does: `Service exited '<service> <image>'`, then `Restarting
//! service …`. `GET /v2/local/logs` streams it line by line as JSON, from the moment of attaching on; the lines of
//! containers come too (`isSystem` is missing or false) and are dropped unread: they are none of the agent's
//! business, and never logged.

use super::client::SupervisorClient;
use super::lines::Lines;
use super::poll::every;
use super::request::Request;
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::SupervisorError;
use futures_util::{Stream, stream};
use reqwest::Response;
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Interval;
use tracing::debug;

/// From one try to attach to the next. How a source comes by its facts decides nothing, so this is not the machine's.
const PAUSE: Duration = Duration::from_secs(2);
/// Services that are being stopped, remembered at most.
const STOPPING: usize = 64;

/// Yields `Event::ServiceExited` for each service whose process ended by itself, while the poll rate is fast; while it
/// is slow there is no connection. A Supervisor that has no such log (a managed one) or does not answer yields
/// nothing; it is tried again after a pause. The stream never ends.
pub fn service_exits(
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
) -> impl Stream<Item = Event> + Send {
    listen(client, poll_rate, PAUSE)
}

pub(super) fn listen(
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
    pause: Duration,
) -> impl Stream<Item = Event> + Send {
    let listener = Listener {
        client,
        poll_rate,
        pause,
        interval: None,
        log: None,
        logged: false,
    };
    stream::unfold(listener, |mut listener| async {
        let service = listener.next().await;
        Some((Event::ServiceExited { service }, listener))
    })
}

struct Listener {
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
    pause: Duration,
    /// Made at the first try, inside the runtime.
    interval: Option<Interval>,
    log: Option<Log>,
    /// Why there is no log has been logged.
    logged: bool,
}

/// The open log.
struct Log {
    response: Response,
    lines: Lines,
    stopping: VecDeque<String>,
}

enum Chosen {
    PollRate(bool),
    Opened(Result<Response, SupervisorError>),
    /// Whether there is more.
    Read(bool),
}

impl Listener {
    /// The next service that ended.
    async fn next(&mut self) -> String {
        loop {
            if let Some(service) = self.log.as_mut().and_then(Log::exit) {
                return service;
            }
            if !self.client.is_configured() {
                return std::future::pending().await;
            }
            if *self.poll_rate.borrow_and_update() == PollRate::Slow {
                self.log = None;
                if self.poll_rate.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            }
            let interval = self.interval.get_or_insert_with(|| every(self.pause));
            let client = &self.client;
            let work = async {
                match &mut self.log {
                    Some(log) => Chosen::Read(log.read().await),
                    None => {
                        interval.tick().await;
                        Chosen::Opened(client.open(Request::get("/v2/local/logs")).await)
                    }
                }
            };
            let chosen = tokio::select! {
                biased;
                set = self.poll_rate.changed() => Chosen::PollRate(set.is_ok()),
                chosen = work => chosen,
            };
            match chosen {
                Chosen::PollRate(true) | Chosen::Read(true) => {}
                // Nobody sets the poll rate any more: the agent is ending.
                Chosen::PollRate(false) => return std::future::pending().await,
                Chosen::Read(false) => self.log = None,
                Chosen::Opened(Ok(response)) => {
                    self.logged = false;
                    self.log = Some(Log::new(response));
                }
                Chosen::Opened(Err(error)) => {
                    if !std::mem::replace(&mut self.logged, true) {
                        debug!(
                            error = error.message,
                            "the Supervisor's log cannot be listened to"
                        );
                    }
                }
            }
        }
    }
}

impl Log {
    fn new(response: Response) -> Self {
        Self {
            response,
            lines: Lines::default(),
            stopping: VecDeque::new(),
        }
    }

    /// Reads on; `false`: that was all, or it is no log.
    async fn read(&mut self) -> bool {
        match self.response.chunk().await {
            Ok(Some(piece)) => self.lines.push(&piece).is_ok(),
            Ok(None) | Err(_) => false,
        }
    }

    /// The next service that ended by itself, in what has been read.
    fn exit(&mut self) -> Option<String> {
        while let Some(line) = self.lines.next() {
            if let Some(SystemLine { what, object }) = system_line(&line)
                && let Some(service) = self.take_in(&what, object)
            {
                return Some(service);
            }
        }
        None
    }

    /// An exit between `Killing` and the next `Starting` is the Supervisor's own doing.
    fn take_in(&mut self, what: &str, object: String) -> Option<String> {
        match what {
            "Killing service" => {
                self.stopping.truncate(STOPPING - 1);
                self.stopping.push_front(object);
                None
            }
            "Starting service" => {
                self.stopping.retain(|stopping| *stopping != object);
                None
            }
            "Service exited" if !self.stopping.contains(&object) => {
                Some(object.split(' ').next().unwrap_or_default().to_owned())
            }
            _ => None,
        }
    }
}

/// What the Supervisor says of which object: `Service exited 'main sha256:…'`.
struct SystemLine {
    what: String,
    object: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    message: String,
    #[serde(default)]
    is_system: bool,
}

fn system_line(line: &[u8]) -> Option<SystemLine> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let (what, object) = line.message.strip_suffix('\'')?.split_once(" '")?;
    line.is_system.then(|| SystemLine {
        what: what.to_owned(),
        object: object.to_owned(),
    })
}
