//! Lines out of pieces, with a bound on what is held.

use std::collections::VecDeque;

/// Longer lines are skipped. What the Supervisor itself writes has some hundred bytes; a container may write more.
const LINE_MAX: usize = 16 * 1024;
/// What has no end of a line for so long is no log.
const ABSURD: usize = 1024 * 1024;

/// Cuts pieces into lines.
#[derive(Default)]
pub(super) struct Lines {
    ready: VecDeque<Vec<u8>>,
    line: Vec<u8>,
    /// How long the present line is, what is not held of it included.
    length: usize,
}

/// These are not lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotLines;

impl Lines {
    /// Takes in a piece; complete lines are to be had from [`Lines::next`].
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NotLines> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            self.length += text.len();
            if self.length > ABSURD {
                return Err(NotLines);
            }
            if self.length > LINE_MAX {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(text);
            }
            if ends {
                if self.length <= LINE_MAX {
                    self.ready.push_back(std::mem::take(&mut self.line));
                }
                self.length = 0;
            }
        }
        Ok(())
    }

    /// The next complete line.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }
}
