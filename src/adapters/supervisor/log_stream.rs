//! The Supervisor's log: one stream for the life of the process.
//!
//! A listener that goes away is never forgotten by the Supervisor (observed: 200 abandoned ones and 2.7 MB of output
//! took it from 121 MB to 1.2 GB). So the stream is opened once, whatever the poll rate, and again only when the
//! Supervisor ended it.

use super::client::SupervisorClient;
use super::lines::Lines;
use super::log_line::LineReader;
use super::poll::every;
use super::request::Request;
use crate::adapters::http::{Answer, HttpError};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::SupervisorError;
use crate::lifecycle::progress::fact::LogFact;
use futures_util::{FutureExt as _, Stream, stream};
use std::time::Duration;
use tracing::debug;

/// Pauses of the reader. No decision depends on them, so they are no timers of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogPauses {
    /// Before the log is opened again; doubles with every failure in a row.
    pub(super) first_retry: Duration,
    pub(super) longest_retry: Duration,
    /// Between two reads while containers write: what comes meanwhile is read at once, so that their lines cost little.
    pub(super) between_reads: Duration,
}

impl Default for LogPauses {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
            between_reads: Duration::from_millis(100),
        }
    }
}

impl LogPauses {
    pub(super) fn retry(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first_retry.saturating_mul(factor).min(self.longest_retry)
    }
}

/// Yields what the Supervisor's log says: [`Event::SupervisorLogged`] and, for each service whose process ended by
/// itself, [`Event::ServiceExited`]. If there is no such log (a managed Supervisor) or no answer, opening it is retried
/// with back-off. The stream never ends.
pub fn log_events(client: SupervisorClient) -> impl Stream<Item = Event> + Send {
    log_events_with(client, LogPauses::default())
}

pub(super) fn log_events_with(
    client: SupervisorClient,
    pauses: LogPauses,
) -> impl Stream<Item = Event> + Send {
    let reader = Reader {
        client,
        pauses,
        log: None,
        failures: 0,
        error_logged: false,
    };
    stream::unfold(reader, |mut reader| async {
        let event = reader.next().await;
        Some((event, reader))
    })
}

struct Reader {
    client: SupervisorClient,
    pauses: LogPauses,
    log: Option<Log>,
    /// Times that the log could not be opened or ended, since it last said something.
    failures: u32,
    /// Whether the error of the last attempt was logged; repeated errors are not.
    error_logged: bool,
}

/// The open log.
struct Log {
    answer: Answer,
    lines: Lines,
    reader: LineReader,
    /// Everything that had come was read: the next read waits a little, and what arrives waits in the socket.
    pauses: bool,
}

impl Reader {
    async fn next(&mut self) -> Event {
        if !self.client.is_configured() {
            return std::future::pending().await;
        }
        loop {
            let Some(log) = &mut self.log else {
                if let Some(event) = self.open().await {
                    return event;
                }
                continue;
            };
            if let Some(event) = log.event(self.client.api_key()) {
                self.failures = 0;
                return event;
            }
            if !log.read(self.pauses.between_reads).await {
                self.log = None;
                self.failures = self.failures.saturating_add(1);
                return Event::SupervisorLogged(LogFact::Lost);
            }
        }
    }

    /// Opens the log, when it is time to.
    async fn open(&mut self) -> Option<Event> {
        if let Some(failures) = self.failures.checked_sub(1) {
            wait(self.pauses.retry(failures)).await;
        }
        match self.client.open(Request::get("/v2/local/logs")).await {
            Ok(answer) => {
                self.error_logged = false;
                self.log = Some(Log {
                    answer,
                    lines: Lines::default(),
                    reader: LineReader::default(),
                    pauses: false,
                });
                Some(Event::SupervisorLogged(LogFact::Opened))
            }
            Err(error) => {
                self.log_error(&error);
                self.failures = self.failures.saturating_add(1);
                None
            }
        }
    }

    fn log_error(&mut self, error: &SupervisorError) {
        if !std::mem::replace(&mut self.error_logged, true) {
            debug!(error = error.message, "cannot open the Supervisor's log");
        }
    }
}

impl Log {
    /// The next event according to the lines read so far.
    fn event(&mut self, key: &str) -> Option<Event> {
        while let Some(line) = self.lines.next() {
            if let Some(event) = self.reader.event(&line, key) {
                return Some(event);
            }
        }
        None
    }

    /// Reads what has come; false if the log has ended or consists of no lines.
    async fn read(&mut self, pause: Duration) -> bool {
        if std::mem::take(&mut self.pauses) {
            wait(pause).await;
        }
        let piece = self.answer.chunk().await;
        let mut open = self.take(piece);
        while open && self.lines.is_empty() {
            match self.answer.chunk().now_or_never() {
                Some(piece) => open = self.take(piece),
                None => {
                    self.pauses = true;
                    return true;
                }
            }
        }
        open || !self.lines.is_empty()
    }

    fn take(&mut self, piece: Result<Option<impl AsRef<[u8]>>, HttpError>) -> bool {
        matches!(piece, Ok(Some(piece)) if self.lines.push(piece.as_ref()).is_ok())
    }
}

/// Waits for this long: the first tick comes at once, the second one after the period.
async fn wait(period: Duration) {
    let mut interval = every(period);
    interval.tick().await;
    interval.tick().await;
}
