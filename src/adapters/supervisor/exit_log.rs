//! Finds exits of services in the Supervisor's log.
//!
//! In the state that the Supervisor reports, a container that exits repeatedly under `restart: always` stays `Running`
//! with the same id (observed). Its log shows the exits: `Service exited '<service> <image>'`, then `Restarting
//! service …`. `GET /v2/local/logs` streams the log as lines of JSON, beginning at the time of the request. Lines of
//! containers (`isSystem` missing or false) are ignored and never logged.

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

/// Interval between attempts to open the log. No decision depends on it, so it is no timer of the machine.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How many services that are being stopped are remembered.
const STOPPING_MAX: usize = 64;

/// Yields [`Event::ServiceExited`] for each service whose process ended by itself, while the poll rate is fast; while
/// it is slow there is no connection. If the Supervisor has no such log (a managed one) or does not answer, opening it
/// is retried at intervals. The stream never ends.
pub fn service_exits(
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
) -> impl Stream<Item = Event> + Send {
    service_exits_with(client, poll_rate, RETRY_INTERVAL)
}

pub(super) fn service_exits_with(
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
    retry_interval: Duration,
) -> impl Stream<Item = Event> + Send {
    let reader = LogReader {
        client,
        poll_rate,
        retry_interval,
        interval: None,
        log: None,
        error_logged: false,
    };
    stream::unfold(reader, |mut reader| async {
        let service = reader.next().await;
        Some((Event::ServiceExited { service }, reader))
    })
}

struct LogReader {
    client: SupervisorClient,
    poll_rate: watch::Receiver<PollRate>,
    retry_interval: Duration,
    /// Created at the first attempt, because it needs the runtime.
    interval: Option<Interval>,
    log: Option<Log>,
    /// Whether the error of the last attempt was logged; repeated errors are not.
    error_logged: bool,
}

/// The open log.
struct Log {
    response: Response,
    lines: Lines,
    stopping: VecDeque<String>,
}

/// What the reader has to handle next.
enum Next {
    /// The poll rate has changed; false: its sender is gone.
    PollRate(bool),
    Opened(Result<Response, SupervisorError>),
    /// A piece was read; false: the log has ended.
    Read(bool),
}

impl LogReader {
    /// The next service that exited by itself.
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
            let interval = self.interval.get_or_insert_with(|| every(self.retry_interval));
            let client = &self.client;
            let open_or_read = async {
                match &mut self.log {
                    Some(log) => Next::Read(log.read().await),
                    None => {
                        interval.tick().await;
                        Next::Opened(client.open(Request::get("/v2/local/logs")).await)
                    }
                }
            };
            let next = tokio::select! {
                biased;
                changed = self.poll_rate.changed() => Next::PollRate(changed.is_ok()),
                next = open_or_read => next,
            };
            match next {
                Next::PollRate(true) | Next::Read(true) => {}
                // Without a sender of the poll rate the agent is stopping.
                Next::PollRate(false) => return std::future::pending().await,
                Next::Read(false) => self.log = None,
                Next::Opened(Ok(response)) => {
                    self.error_logged = false;
                    self.log = Some(Log::new(response));
                }
                Next::Opened(Err(error)) => {
                    if !std::mem::replace(&mut self.error_logged, true) {
                        debug!(error = error.message, "cannot open the Supervisor's log");
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

    /// Reads the next piece; false if the log has ended or consists of no lines.
    async fn read(&mut self) -> bool {
        match self.response.chunk().await {
            Ok(Some(piece)) => self.lines.push(&piece).is_ok(),
            Ok(None) | Err(_) => false,
        }
    }

    /// The next service that exited by itself, according to the lines read so far.
    fn exit(&mut self) -> Option<String> {
        while let Some(line) = self.lines.next() {
            if let Some(SystemLine { message, object }) = system_line(&line)
                && let Some(service) = self.process(&message, object)
            {
                return Some(service);
            }
        }
        None
    }

    /// Returns the service if the line is an exit that the Supervisor did not cause: one outside the time from `Killing
    /// service` to `Starting service`.
    fn process(&mut self, message: &str, object: String) -> Option<String> {
        match message {
            "Killing service" => {
                self.stopping.truncate(STOPPING_MAX - 1);
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

/// A message of the Supervisor and the object it is about: `Service exited 'main sha256:…'`.
struct SystemLine {
    message: String,
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
    let (message, object) = line.message.strip_suffix('\'')?.split_once(" '")?;
    line.is_system.then(|| SystemLine {
        message: message.to_owned(),
        object: object.to_owned(),
    })
}
