//! The journal: every event with its stamp, as JSON lines, in two files that take turns, so that it never grows.
//!
//! It is for people and for `baserunner replay`, not for recovery: it is not fsynced, and an error in writing it
//! stops nothing. A file begins with a header that holds the checkpoint it starts from; one that begins in the
//! middle of a run replays as if the agent had been restarted there.

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
    /// What the replay starts from.
    pub checkpoint: Checkpoint,
    /// The facts of the run.
    pub run: Run,
    /// When it started.
    pub now: Stamp,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Rises within a run.
    pub seq: u64,
    /// What the clocks said.
    pub now: Stamp,
    /// What happened.
    pub event: Event,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    now: Stamp,
    event: &'a Event,
}

/// Records events.
pub struct Journal {
    dir: PathBuf,
    limit: u64,
    out: Option<BufWriter<File>>,
    written: u64,
    seq: u64,
    header: Header,
    complained: bool,
}

impl Journal {
    /// The name of the present file; the one before has `.1` appended.
    pub const FILE: &'static str = "journal.jsonl";

    /// Begins a new file for this run; each file holds at most half of `limit` bytes, and one header.
    pub fn begin(dir: &Path, limit: u64, header: Header) -> Self {
        let dir = dir.to_owned();
        let mut journal = Self {
            dir,
            limit,
            out: None,
            written: 0,
            seq: 0,
            header,
            complained: false,
        };
        journal.turn_over();
        journal
    }

    /// Records one event.
    pub fn record(&mut self, now: Stamp, event: &Event) {
        self.seq += 1;
        if self.written > self.limit / 2 {
            self.turn_over();
        }
        let line = Line {
            seq: self.seq,
            now,
            event,
        };
        let result = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|json| self.write(&json));
        self.complain_once(result);
    }

    /// The state has moved: what a later file starts from.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint, now: Stamp) {
        self.header.checkpoint = checkpoint.clone();
        self.header.now = now;
    }

    /// Hands what is buffered to the kernel.
    pub fn flush(&mut self) {
        let result = self.out.as_mut().map_or(Ok(()), io::Write::flush);
        self.complain_once(result);
    }

    fn turn_over(&mut self) {
        let result = self.open();
        self.complain_once(result);
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
        self.out = Some(BufWriter::with_capacity(4096, file));
        let header = serde_json::to_vec(&self.header)?;
        self.write(&header)?;
        self.flush();
        Ok(())
    }

    fn write(&mut self, json: &[u8]) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(json)?;
        out.write_all(b"\n")?;
        self.written += json.len() as u64 + 1;
        Ok(())
    }

    fn complain_once(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.complained
        {
            self.complained = true;
            tracing::warn!(%error, dir = %self.dir.display(), "the journal cannot be written; the agent goes on without it");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}
