//! The Supervisor's system log: what it says in a backend's dashboard, and on `GET /v2/local/logs`.
//!
//! Wording and order as recorded (update-backend, pull-fail-backend); `Restarting service` is the source's, for a
//! container that is started after it ended.

use crate::supervisor::container::image_digest;
use crate::supervisor::{Effect, Supervisor};

impl Supervisor {
    /// `<what> '<service> <image id>'` of a container.
    pub(crate) fn tell(&mut self, what: &str, id: &str) {
        let Some(container) = self.containers.iter().find(|container| container.id == id) else {
            return;
        };
        let image = image_digest(&container.config.image);
        self.tell_text(format!("{what} '{} {image}'", container.service));
    }

    /// Nobody reads the engine's events while the Supervisor is down.
    pub(crate) fn tell_text(&mut self, line: String) {
        if self.is_up() {
            self.effects.push(Effect::SystemLine(line));
        }
    }
}
