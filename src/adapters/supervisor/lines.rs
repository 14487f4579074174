//! Splits a stream into lines, within a memory limit.

use std::collections::VecDeque;

/// Length limit of a line, bytes; longer ones are skipped. The Supervisor's own lines have some hundred bytes, those of
/// containers may have more.
const LINE_MAX_BYTES: usize = 16 * 1024;
/// After so many bytes without a line end the stream is no log.
const UNTERMINATED_MAX_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Lines {
    ready: VecDeque<Vec<u8>>,
    line: Vec<u8>,
    /// The length of the incomplete line, including skipped bytes.
    length: usize,
}

/// The stream has no line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoLines;

impl Lines {
    /// Adds a piece of the stream; [`Lines::next`] returns the lines that are complete.
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
            } else {
                self.line.extend_from_slice(text);
            }
            if ends {
                if self.length <= LINE_MAX_BYTES {
                    self.ready.push_back(std::mem::take(&mut self.line));
                }
                self.length = 0;
            }
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }
}
