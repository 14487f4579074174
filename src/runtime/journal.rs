//! The journal: every event with its time stamp, as JSON lines, in two rotating files of bounded size.
//!
//! It serves diagnosis and `baserunner replay`, not recovery: it is not fsynced, and a write error does not stop the
//! agent. Each file begins with a header that holds the checkpoint to replay from. A file that begins in the middle
//! of a run replays as if the agent had been restarted there.

use crate::durable_file::leave_to_owner_of;
use crate::lifecycle::facts::Run;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::{Checkpoint, Event};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    /// The checkpoint to replay from.
    pub checkpoint: Checkpoint,
    pub run: Run,
    /// The time of the checkpoint.
    pub now: Stamp,
}

/// Every line after the header.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up within a run.
    pub seq: u64,
    pub now: Stamp,
    pub event: Event,
}

/// In the place of an entry that is larger than a file may be. The next file begins after it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeftOut {
    pub seq: u64,
    pub now: Stamp,
    /// The event's name.
    pub left_out: String,
    pub bytes: u64,
}

/// An [`Entry`] that borrows its event.
#[derive(Serialize)]
struct EntryRef<'a> {
    seq: u64,
    now: Stamp,
    event: &'a Event,
}

pub struct Journal {
    dir: PathBuf,
    limit: u64,
    out: Option<BufWriter<File>>,
    written: u64,
    seq: u64,
    header: Header,
    warned: bool,
}

impl Journal {
    /// Name of the current file; the previous one has `.1` appended.
    pub const FILE: &'static str = "journal.jsonl";

    /// Begins a new file for this run. A file is rotated once it exceeds half of `limit`, bytes.
    pub fn begin(dir: &Path, limit: u64, header: Header) -> Self {
        let dir = dir.to_owned();
        let mut journal = Self {
            dir,
            limit,
            out: None,
            written: 0,
            seq: 0,
            header,
            warned: false,
        };
        journal.rotate();
        journal
    }

    pub fn record(&mut self, now: Stamp, event: &Event) {
        self.seq += 1;
        if self.written > self.limit / 2 {
            self.rotate();
        }
        let entry = EntryRef {
            seq: self.seq,
            now,
            event,
        };
        let result = serde_json::to_vec(&entry)
            .map_err(io::Error::from)
            .and_then(|json| self.write_within_limit(&json, &entry));
        self.warn_once(result);
    }

    /// Sets the checkpoint for the header of the next file.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint, now: Stamp) {
        self.header.checkpoint = checkpoint.clone();
        self.header.now = now;
    }

    /// Writes the buffered lines to the file, without fsync.
    pub fn flush(&mut self) {
        let result = self.out.as_mut().map_or(Ok(()), io::Write::flush);
        self.warn_once(result);
    }

    fn rotate(&mut self) {
        let result = self.open();
        self.warn_once(result);
    }

    fn open(&mut self) -> io::Result<()> {
        let path = self.dir.join(Self::FILE);
        self.out = None;
        self.written = 0;
        match std::fs::rename(&path, self.dir.join(format!("{}.1", Self::FILE))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        leave_to_owner_of(&self.dir, &file);
        self.out = Some(BufWriter::with_capacity(4096, file));
        let header = serde_json::to_vec(&self.header)?;
        self.write(&header)?;
        self.flush();
        Ok(())
    }

    fn write_within_limit(&mut self, json: &[u8], entry: &EntryRef<'_>) -> io::Result<()> {
        let bytes = json.len() as u64;
        if bytes <= self.limit / 2 {
            return self.write(json);
        }
        let left_out = LeftOut {
            seq: entry.seq,
            now: entry.now,
            left_out: entry.event.name().to_owned(),
            bytes,
        };
        self.write(&serde_json::to_vec(&left_out)?)?;
        // What follows replays from the checkpoint of after it.
        self.written = u64::MAX;
        Ok(())
    }

    fn write(&mut self, json: &[u8]) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(json)?;
        out.write_all(b"\n")?;
        self.written = self.written.saturating_add(json.len() as u64 + 1);
        Ok(())
    }

    fn warn_once(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.warned
        {
            self.warned = true;
            let dir = self.dir.display();
            tracing::warn!(%error, %dir, "the journal cannot be written; the agent continues without it");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::time::Millis;

    #[test]
    fn an_entry_that_is_larger_than_the_limit_is_left_out_with_a_note() {
        let dir = tempfile::tempdir().unwrap();
        let now = Stamp {
            boot: Millis(1),
            wall: jiff::Timestamp::UNIX_EPOCH,
            entropy: 0,
        };
        let header = Header {
            checkpoint: Checkpoint::default(),
            run: Run::default(),
            now,
        };
        let mut journal = Journal::begin(dir.path(), 64 << 10, header);
        let problem = |length| Event::StateWritten {
            problem: Some("x".repeat(length)),
        };
        for length in [10, 100_000, 20] {
            journal.record(now, &problem(length));
        }
        drop(journal);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let before = read("journal.jsonl.1");
        let note: LeftOut = serde_json::from_str(before.lines().last().unwrap()).unwrap();
        assert_eq!((note.seq, note.left_out.as_str()), (2, "stateWritten"));
        assert_eq!(
            read(Journal::FILE).lines().count(),
            2,
            "the next file has the next entry"
        );
        let mut said = String::new();
        let check = |_: &_, _: &_| Vec::new();
        crate::runtime::replay::replay(before.as_bytes(), check, |line| said.push_str(line)).unwrap();
        assert!(said.contains("left out: stateWritten"), "{said}");
    }
}
