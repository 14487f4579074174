//! The demo's output.

use baseos_simulator::clock::Clock;
use std::io::{IsTerminal as _, Write as _};

/// Prints lines with the time since the start; in colour on a terminal only.
pub(crate) struct Screen {
    clock: Clock,
    colour: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::start(),
            colour: std::io::stdout().is_terminal(),
        }
    }

    /// The heading of a step.
    pub(crate) fn step(&self, text: &str) {
        self.line("1;36", "==", text);
    }

    /// What a program reports.
    pub(crate) fn detail(&self, source: &str, text: &str) {
        self.line("2", "  ", &format!("{source:<8} {text}"));
    }

    pub(crate) fn success(&self, text: &str) {
        self.line("1;32", "ok", text);
    }

    pub(crate) fn failure(&self, text: &str) {
        self.line("1;31", "!!", text);
    }

    fn line(&self, colour: &str, mark: &str, text: &str) {
        let at = self.clock.now().as_secs_f32();
        let mut out = std::io::stdout().lock();
        // A closed pipe (`| head`) is no reason to stop.
        let _ = if self.colour {
            writeln!(out, "\x1b[2m{at:7.1}s\x1b[0m \x1b[{colour}m{mark} {text}\x1b[0m")
        } else {
            writeln!(out, "{at:7.1}s {mark} {text}")
        };
        let _ = out.flush();
    }
}
