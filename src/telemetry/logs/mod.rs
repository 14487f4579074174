//! The log: one line per event on stderr, as text or JSON.

mod error;
mod filter;
mod format;
#[cfg(test)]
mod tests;
mod text;

pub use error::LogError;
pub use filter::LogFilter;
pub use format::LogFormat;

use super::redact::{Redacting, Redactor};
use std::io::{self, IsTerminal};
use std::panic;
use text::Text;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// Starts logging to stderr and routes panics into the log. With `colour`, text has colours when stderr is a terminal.
///
/// # Errors
/// When the log was set up before.
pub fn start(
    filter: LogFilter,
    format: LogFormat,
    colour: bool,
    redactor: &Redactor,
) -> Result<(), LogError> {
    let writer = Redacting::new(io::stderr, redactor.clone());
    let colour = colour && io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(filter, format, colour, writer))?;
    log_panics();
    Ok(())
}

fn subscriber<W>(
    filter: LogFilter,
    format: LogFormat,
    colour: bool,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false);
    let layer = match format {
        LogFormat::Text => layer.event_format(Text { colour }).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    Registry::default().with(layer.with_filter(filter.into_targets()))
}

/// Logs panics, so that their messages are redacted like every log line.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        tracing::error!(at, "panic: {message}");
    }));
}
