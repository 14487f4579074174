//! What the demo prints.

use baseos_simulator::clock::Clock;
use std::io::{IsTerminal as _, Write as _};

/// Lines with the time since the start; colours on a terminal only.
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

    /// A chapter.
    pub(crate) fn step(&self, text: &str) {
        self.line("1;36", "==", text);
    }

    /// Something seen.
    pub(crate) fn seen(&self, who: &str, text: &str) {
        self.line("2", "  ", &format!("{who:<8} {text}"));
    }

    /// Something that is as it should be.
    pub(crate) fn good(&self, text: &str) {
        self.line("1;32", "ok", text);
    }

    /// Something that is not.
    pub(crate) fn bad(&self, text: &str) {
        self.line("1;31", "!!", text);
    }

    fn line(&self, colour: &str, mark: &str, text: &str) {
        let at = self.clock.now().as_secs_f32();
        let mut out = std::io::stdout().lock();
        // A reader that went away (`| head`) is no reason to stop.
        let _ = if self.colour {
            writeln!(out, "\x1b[2m{at:7.1}s\x1b[0m \x1b[{colour}m{mark} {text}\x1b[0m")
        } else {
            writeln!(out, "{at:7.1}s {mark} {text}")
        };
        let _ = out.flush();
    }
}
