//! Splits a stream into lines, within a memory limit, and keeps those of the Supervisor itself.

use super::log_line::may_be_system;
use std::collections::VecDeque;

/// Length limit of a line, bytes; longer ones are skipped. The Supervisor's own lines have some hundred bytes, those of
/// containers may have more.
const LINE_MAX_BYTES: usize = 16 * 1024;
/// After so many bytes without a line end the stream is no log.
const UNTERMINATED_MAX_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Lines {
    ready: VecDeque<Vec<u8>>,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
    /// The length of the incomplete line, including skipped bytes.
    length: usize,
}

/// The stream has no line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoLines;

impl Lines {
    /// Adds a piece of the stream; [`Lines::next`] returns the complete lines that may be the Supervisor's.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NoLines> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            self.length += text.len();
            if self.length > UNTERMINATED_MAX_BYTES {
                return Err(NoLines);
            }
            if self.length > LINE_MAX_BYTES {
                self.line = Vec::new();
            } else if self.line.is_empty() && ends {
                // The usual case: the line came in one piece and is not copied to be looked at.
                if may_be_system(text) {
                    self.ready.push_back(text.to_vec());
                }
            } else {
                self.line.extend_from_slice(text);
            }
            if ends {
                if !self.line.is_empty() && may_be_system(&self.line) {
                    self.ready.push_back(self.line.clone());
                }
                self.line.clear();
                self.length = 0;
            }
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}
