//! The log: one line an event, on stderr, as text for people or JSON for machines.

use super::redact::{Redacting, Redactor};
use super::text::Text;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic;
use std::str::FromStr;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

/// What is logged: a level for all, and others for some targets: `info` or `info,baserunner=debug,hyper=off`.
/// Without a level for all, other targets than those named are not logged. Empty is `info`.
#[derive(Clone, Debug)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl FromStr for LogFilter {
    type Err = LogError;

    /// Stricter than the library, which takes a mistyped level for the name of a target to log everything of.
    fn from_str(text: &str) -> Result<Self, LogError> {
        // An environment variable that is set to nothing asks for nothing special.
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut targets = Targets::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part),
            };
            let name = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
            if target.is_some_and(|target| target.is_empty() || !target.chars().all(name)) {
                return Err(LogError::Filter(part.to_owned()));
            }
            let level = level_of(level).ok_or_else(|| LogError::Filter(part.to_owned()))?;
            targets = match target {
                Some(target) => targets.with_target(target, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

fn level_of(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A part of the filter is none.
    #[error(
        "`{0}` is no log filter: write a level (off, error, warn, info, debug, trace) or target=level, separated \
         by commas, e.g. `info` or `info,baserunner=debug,hyper=off`"
    )]
    Filter(String),
    /// No such form.
    #[error("`{0}` is no log format: write `text` or `json`")]
    Format(String),
    /// Something else logs already; a mistake in the program.
    #[error("the log is set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Starts logging to stderr and routes panics into the log. Text has colours when stderr is a terminal.
///
/// # Errors
/// When the log was set up before.
pub fn start(filter: LogFilter, format: LogFormat, redactor: &Redactor) -> Result<(), LogError> {
    let writer = Redacting::new(io::stderr, redactor.clone());
    let colour = io::stderr().is_terminal();
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
    Registry::default().with(layer.with_filter(filter.targets))
}

/// A panic's message may hold anything, so it goes the way of all log lines and not to stderr as it is.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        tracing::error!(at, "panic: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::token::{Token, TokenKind, WireSecret};
    use serde_json::Value;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, colour: bool, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let out = sink.clone();
        let writer = Redacting::new(move || out.clone(), Redactor::default());
        tracing::subscriber::with_default(subscriber(filter.parse().unwrap(), format, colour, writer), act);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    fn after_time(line: &str) -> &str {
        line.split_once(' ').unwrap().1
    }

    #[test]
    fn text_is_one_line_of_time_level_message_and_fields() {
        let line = logged("info", LogFormat::Text, false, || {
            tracing::info!(state = "idle", beats = 3, "enrolled");
            tracing::debug!("not shown");
        });
        assert_eq!(after_time(&line), "INFO  enrolled state=\"idle\" beats=3\n");
    }

    #[test]
    fn nothing_that_is_logged_can_begin_a_line_or_colour_the_terminal() {
        let line = logged("info", LogFormat::Text, false, || {
            tracing::warn!(reason = %"a\nb", "one\r\n2026 ERROR two\x1b[31m");
        });
        assert_eq!(line.lines().count(), 1, "{line:?}");
        assert!(!line.contains('\x1b'), "{line:?}");
    }

    #[test]
    fn colours_only_when_wanted() {
        let line = logged("info", LogFormat::Text, true, || tracing::error!("bad"));
        assert_eq!(after_time(&line), "\x1b[31mERROR\x1b[0m bad\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = logged("info", LogFormat::Json, true, || tracing::warn!(op = 7, "late"));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["level"], &value["message"], &value["op"]),
            (&"WARN".into(), &"late".into(), &7.into())
        );
    }

    #[test]
    fn targets_have_levels_of_their_own() {
        let text = logged("warn,baserunner::telemetry=debug", LogFormat::Text, false, || {
            tracing::debug!("shown");
            tracing::info!(target: "hyper", "not shown");
        });
        assert_eq!(
            after_time(&text),
            "DEBUG baserunner::telemetry::logs::tests: shown\n"
        );
    }

    #[test]
    fn a_mistyped_filter_is_refused_and_told_what_would_be_right() {
        for wrong in [
            "inof",
            "baserunner=",
            "=debug",
            "baserunner=loud",
            "a b=info",
            "info;debug",
        ] {
            let error = wrong.parse::<LogFilter>().unwrap_err().to_string();
            assert!(error.contains("baserunner=debug"), "{error}");
        }
        for right in [
            "",
            "info",
            "INFO",
            "off",
            "info, baserunner=debug,hyper::proto=off",
        ] {
            right.parse::<LogFilter>().unwrap();
        }
        assert_eq!(
            "xml".parse::<LogFormat>().unwrap_err().to_string(),
            "`xml` is no log format: write `text` or `json`"
        );
    }

    #[test]
    fn a_panic_is_a_log_line_without_its_secrets() {
        let token = Token::mint(TokenKind::Node, |bytes| {
            (0..).zip(bytes).for_each(|(i, b)| *b = i);
        });
        let line = logged("info", LogFormat::Text, false, || {
            log_panics();
            let panicked = panic::catch_unwind(|| panic!("with {}", token.expose()));
            drop(panic::take_hook());
            panicked.unwrap_err();
        });
        let start = format!(
            "ERROR panic: with szn_{}_*** at=\"src/telemetry/logs.rs:",
            token.id()
        );
        assert!(after_time(&line).starts_with(&start), "{line}");
    }

    #[test]
    fn no_token_comes_through_at_the_finest_level() {
        let token = Token::mint(TokenKind::Node, |bytes| {
            (0..).zip(bytes).for_each(|(i, b)| *b = i);
        });
        let secret = &token.expose()[15..];
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged("trace", format, false, || {
                let _span = tracing::trace_span!("call", header = token.expose()).entered();
                tracing::trace!(token = token.expose(), id = %token.id(), "Bearer {}", token.expose());
                tracing::trace!(?token, wire = ?WireSecret::from(&token), "typed");
            });
            assert!(text.contains(token.id().as_str()), "{text}");
            assert!(!text.contains(&secret[..8]), "{text}");
        }
    }
}
