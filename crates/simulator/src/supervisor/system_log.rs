//! The Supervisor's system log, which a backend's dashboard and `GET /v2/local/logs` show.
//!
//! Wording and order as observed; `Restarting service`, for a container that is started after it ended, is from the
//! Supervisor's source.

use crate::supervisor::effect::Effect;
use crate::supervisor::model::Supervisor;

impl Supervisor {
    /// `<what> '<service> <image id>'` of a container.
    pub(crate) fn log_about(&mut self, what: &str, id: &str) {
        let Some(container) = self.containers.iter().find(|container| container.id == id) else {
            return;
        };
        self.log_system(format!("{what} '{} {}'", container.service, container.image.id));
    }

    /// The engine's events are lost while the Supervisor is down.
    pub(crate) fn log_system(&mut self, line: String) {
        if self.is_up() {
            self.effects.push(Effect::SystemLine {
                line,
                is_error: false,
            });
        }
    }

    /// A line that has `isStdErr` (E3-a).
    pub(crate) fn log_system_error(&mut self, line: String) {
        if self.is_up() {
            self.effects.push(Effect::SystemLine { line, is_error: true });
        }
    }
}
