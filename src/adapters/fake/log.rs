//! The log output of a test.

use crate::telemetry::capture::Capture;
use std::sync::{Mutex, PoisonError};
use tracing::subscriber::DefaultGuard;

/// Everything traced on this thread at every level, and everything logged through `log` in the process.
pub(crate) struct Log {
    traced: Capture,
    _guard: DefaultGuard,
}

/// The HTTP library logs through the crate `log`, which has one logger per process.
struct Logger(Mutex<String>);

static LOGGER: Logger = Logger(Mutex::new(String::new()));

impl ::log::Log for Logger {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&format!("{} {}\n", record.target(), record.args()));
    }

    fn flush(&self) {}
}

impl Log {
    pub(crate) fn capture() -> Self {
        // Fails from the second call on, when the logger is set already.
        let _ = ::log::set_logger(&LOGGER);
        ::log::set_max_level(::log::LevelFilter::Trace);
        let traced = Capture::default();
        let writer = traced.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            traced,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub(crate) fn text(&self) -> String {
        let logged = LOGGER.0.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{}{logged}", self.traced.text())
    }
}
