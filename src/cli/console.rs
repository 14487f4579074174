//! Where commands print to, and how.

use baseos_interfaces::terminal::plain;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// The outputs of a command.
pub struct Console<'a> {
    pub out: &'a mut (dyn Write + Send),
    pub err: &'a mut (dyn Write + Send),
    /// Whether `out` may have colours.
    pub colour: bool,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("colour", &self.colour)
            .finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// Standard output and error; colours when standard output is a terminal.
    pub fn standard(out: &'a mut io::Stdout, err: &'a mut io::Stderr) -> Self {
        let colour = out.is_terminal();
        Self { out, err, colour }
    }

    /// Prints a result. A write error (a closed pipe) does not fail the command.
    pub(super) fn print(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }

    /// Prints an error message on one line.
    pub(super) fn print_error(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", plain(text));
    }

    pub(super) fn style(&self) -> Style {
        Style(self.colour)
    }
}

/// Colours text, if colours are on.
#[derive(Clone, Copy)]
pub(super) struct Style(pub(super) bool);

impl Style {
    pub(super) fn good(self, text: &str) -> String {
        self.coloured(32, text)
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.coloured(33, text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.coloured(31, text)
    }

    fn coloured(self, colour: u8, text: &str) -> String {
        if self.0 {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
