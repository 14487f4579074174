//! The log output of a test.

use crate::telemetry::capture::Capture;
use tracing::subscriber::DefaultGuard;

/// Everything traced on this thread at every level, also by libraries.
pub(crate) struct Log {
    traced: Capture,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn capture() -> Self {
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
        self.traced.text()
    }
}
