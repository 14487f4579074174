//! `baserunner replay FILE`: feeds a journal to a new machine and prints its steps.

use crate::lifecycle::checkpoint::CheckpointError;
use crate::lifecycle::facts::Run;
use crate::lifecycle::migrate::migrate;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::{Machine, SettingsCheck, Step};
use crate::runtime::journal::{Entry, LeftOut};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufRead};

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the journal: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} of the journal does not read: {error}. Is it a file that `baserunner run` wrote?")]
    Line {
        /// Counted from 1.
        line: usize,
        error: serde_json::Error,
    },
    #[error("line 1 of the journal: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the journal is empty")]
    Empty,
}

/// The first line, as an agent of this version or an earlier one wrote it.
#[derive(Deserialize)]
struct StoredHeader {
    checkpoint: Value,
    run: Run,
    now: Stamp,
}

/// Replays a journal; `check` is the agent's own, `out` gets one line per step.
///
/// # Errors
/// When the file cannot be read or parsed, or its first line has no usable checkpoint. A truncated last line (a power
/// cut) is not an error: it is reported and the replay ends there.
pub fn replay(
    journal: impl BufRead,
    check: SettingsCheck,
    mut out: impl FnMut(&str),
) -> Result<Machine, ReplayError> {
    let mut lines = journal.lines().enumerate();
    let Some((_, first)) = lines.next() else {
        return Err(ReplayError::Empty);
    };
    let at_first = |error| ReplayError::Line { line: 1, error };
    let header: StoredHeader = serde_json::from_slice(first?.as_bytes()).map_err(at_first)?;
    let checkpoint = migrate(header.checkpoint)?;
    let (mut machine, step) = Machine::resume_with(checkpoint, header.run, header.now, check);
    out(&step_line("resumed", 0, &step));
    let mut lines = lines.peekable();
    while let Some((at, line)) = lines.next() {
        let line = line?;
        if let Ok(note) = serde_json::from_str::<LeftOut>(&line) {
            out(&format!(
                "{:>6} left out: {}, {} bytes",
                note.seq, note.left_out, note.bytes
            ));
            continue;
        }
        let entry: Entry = match serde_json::from_slice(line.as_bytes()) {
            Ok(entry) => entry,
            Err(_) if lines.peek().is_none() => {
                out("the last line is cut off");
                break;
            }
            Err(error) => return Err(ReplayError::Line { line: at + 1, error }),
        };
        let step = machine.step(&entry.event, entry.now);
        out(&step_line(entry.event.name(), entry.seq, &step));
    }
    out(&format!("ends in {}", machine.agent_state()));
    Ok(machine)
}

/// Event, transitions and effects of one step, on one line.
fn step_line(event: &str, seq: u64, step: &Step) -> String {
    let mut line = format!("{seq:>6} {event:<18}");
    for transition in &step.transitions {
        // Writing to a String does not fail.
        let _ = write!(
            line,
            " {} -> {} ({})",
            transition.from, transition.to, transition.cause
        );
    }
    for effect in &step.effects {
        let _ = match effect.op() {
            Some(op) => write!(line, " {}#{op}", effect.name()),
            None => write!(line, " {}", effect.name()),
        };
    }
    if step.ignored {
        line.push_str(" ignored");
    }
    line
}
