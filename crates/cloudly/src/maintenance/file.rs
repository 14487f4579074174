//! The file of a backup: lines of JSON, the same for each engine.
//!
//! ```text
//! {"cloudlyBackup":1,"program":"0.1.0","engine":"sqlite","schema":3,"takenAt":"…","pepper":"…"}
//! {"table":"nodes","columns":["id","name", …]}
//! ["node_…","edge", …]
//! …
//! {"rows":{"nodes":1, …},"sha256":"…"}
//! ```
//!
//! The last line has the number of rows of each table, and the checksum of everything before it. Numbers, texts and null
//! are the only values. Every later form keeps `cloudlyBackup` and `program` in the first line.

use super::error::MaintenanceError;
use crate::auth::key_file::check_mode;
use crate::storage::tables::Cell;
use baseos_interfaces::Timestamp;
use baseos_interfaces::token::WireSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

/// The form this cloudly writes.
const FORM: u32 = 1;
/// Longer than any line: a request has a quarter of a MiB at most.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// How many rows each table has.
pub(super) type Counts = BTreeMap<String, u64>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    cloudly_backup: u32,
    /// The version of the cloudly that wrote it.
    pub(super) program: String,
    pub(super) engine: String,
    pub(super) schema: i64,
    pub(super) taken_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pepper: Option<WireSecret>,
}

/// What every form has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyHeader {
    cloudly_backup: u32,
    #[serde(default)]
    program: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Row(Vec<Cell>),
    Table { table: String, columns: Vec<String> },
    End { rows: Counts, sha256: String },
}

impl Header {
    pub(super) fn new(engine: &str, schema: i64, taken_at: Timestamp, pepper: Option<WireSecret>) -> Self {
        Self {
            cloudly_backup: FORM,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.to_owned(),
            schema,
            taken_at,
            pepper,
        }
    }
}

/// Writes a file beside the one it is to become.
pub(super) struct Writer {
    to: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    rows: Counts,
    table: String,
    is_finished: bool,
}

impl Writer {
    pub(super) fn create(to: &Path, header: &Header) -> Result<Self, MaintenanceError> {
        let mut name = to.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let failed = || MaintenanceError::io(&part);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(MaintenanceError::UnderWay(to.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
        }
        // Of a backup that was broken off.
        file.set_len(0).map_err(failed())?;
        check_mode(&file, &part)?;
        let mut writer = Self {
            to: to.to_owned(),
            part,
            out: BufWriter::new(file),
            hash: Sha256::new(),
            bytes: 0,
            rows: Counts::new(),
            table: String::new(),
            is_finished: false,
        };
        writer.line(header)?;
        Ok(writer)
    }

    pub(super) fn table(&mut self, table: &str, columns: Vec<String>) -> Result<(), MaintenanceError> {
        table.clone_into(&mut self.table);
        self.rows.insert(table.to_owned(), 0);
        self.line(&Line::Table {
            table: table.to_owned(),
            columns,
        })
    }

    pub(super) fn row(&mut self, row: &[Cell]) -> Result<(), MaintenanceError> {
        self.line(&row)?;
        *self.rows.entry(self.table.clone()).or_default() += 1;
        Ok(())
    }

    /// Puts it in its place, on disk. Returns the number of its bytes, and of the rows of its tables.
    pub(super) fn finish(mut self, overwrite: bool) -> Result<(u64, Counts), MaintenanceError> {
        let end = Line::End {
            rows: self.rows.clone(),
            sha256: hex(self.hash.clone()),
        };
        self.line(&end)?;
        let Self { to, part, out, .. } = &mut self;
        let written = out.flush().and_then(|()| out.get_ref().sync_all());
        written.map_err(MaintenanceError::io(part))?;
        put_in_place(part, to, overwrite)?;
        self.is_finished = true;
        Ok((self.bytes, std::mem::take(&mut self.rows)))
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), MaintenanceError> {
        let written = serde_json::to_vec(value)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.hash.update(&line);
                self.bytes += line.len() as u64;
                self.out.write_all(&line)
            });
        written.map_err(MaintenanceError::io(&self.part))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_finished {
            // What is left of it is no backup, and the next one begins anew.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Refuses to write over a file unless it may.
pub(super) fn check_free(to: &Path, overwrite: bool) -> Result<(), MaintenanceError> {
    if !overwrite && std::fs::symlink_metadata(to).is_ok() {
        return Err(MaintenanceError::Exists(to.to_owned()));
    }
    Ok(())
}

fn put_in_place(part: &Path, to: &Path, overwrite: bool) -> Result<(), MaintenanceError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    let failed = MaintenanceError::io(to);
    let flags = if overwrite {
        RenameFlags::empty()
    } else {
        RenameFlags::NOREPLACE
    };
    match renameat_with(CWD, part, CWD, to, flags) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(MaintenanceError::Exists(to.to_owned())),
        // Not every file system has that.
        Err(Errno::INVAL | Errno::NOSYS) => {
            check_free(to, overwrite)?;
            if let Err(error) = std::fs::rename(part, to) {
                return Err(failed(error));
            }
        }
        Err(error) => return Err(failed(error.into())),
    }
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let synced = File::open(directory.unwrap_or_else(|| Path::new("."))).and_then(|found| found.sync_all());
    synced.map_err(MaintenanceError::io(to))
}

/// Reads a file line by line.
pub(super) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    hash: Sha256,
    line: Vec<u8>,
    pub(super) header: Header,
}

impl Reader {
    /// Reads the first line.
    pub(super) fn open(path: &Path) -> Result<Self, MaintenanceError> {
        let file = File::open(path).map_err(MaintenanceError::io(path))?;
        check_mode(&file, path)?;
        Self::begin(path.to_owned(), file)
    }

    fn begin(path: PathBuf, file: File) -> Result<Self, MaintenanceError> {
        let mut reader = Self {
            path,
            input: BufReader::new(file),
            hash: Sha256::new(),
            line: Vec::new(),
            header: Header::new("", 0, Timestamp::UNIX_EPOCH, None),
        };
        reader.read_line()?;
        let not_ours = |_| MaintenanceError::NotABackup(reader.path.clone());
        let AnyHeader {
            cloudly_backup,
            program,
        } = serde_json::from_slice(&reader.line).map_err(not_ours)?;
        if cloudly_backup > FORM {
            let path = reader.path;
            return Err(MaintenanceError::Newer { path, program });
        }
        reader.header = serde_json::from_slice(&reader.line)
            .map_err(|_| reader.damaged("its first line cannot be read".to_owned()))?;
        reader.hash.update(&reader.line);
        Ok(reader)
    }

    /// Reads the rest, and says how many rows there are when it is whole.
    pub(super) fn verify(&mut self) -> Result<Counts, MaintenanceError> {
        let mut counts = Counts::new();
        let mut table: Option<(String, usize)> = None;
        loop {
            match (self.next()?, &table) {
                (Line::Table { table: name, columns }, _) => {
                    if counts.insert(name.clone(), 0).is_some() {
                        return Err(self.damaged(format!("the table {name} comes twice")));
                    }
                    table = Some((name, columns.len()));
                }
                (Line::Row(row), Some((name, columns))) if row.len() == *columns => {
                    *counts.entry(name.clone()).or_default() += 1;
                }
                (Line::Row(_), _) => return Err(self.damaged("a row is not as its table".to_owned())),
                (Line::End { rows, .. }, _) if rows == counts => return Ok(counts),
                (Line::End { .. }, _) => return Err(self.damaged("rows are missing".to_owned())),
            }
        }
    }

    /// The same file from its begin.
    pub(super) fn again(self) -> Result<Self, MaintenanceError> {
        let mut file = self.input.into_inner();
        file.rewind().map_err(MaintenanceError::io(&self.path))?;
        Self::begin(self.path, file)
    }

    /// The next line. The last one is only handed on when nothing follows it and everything before it is as it was
    /// written.
    pub(super) fn next(&mut self) -> Result<Line, MaintenanceError> {
        self.read_line()?;
        let line = serde_json::from_slice(&self.line);
        let line = line.map_err(|_| self.damaged("a line cannot be read".to_owned()))?;
        if let Line::End { sha256, .. } = &line {
            if *sha256 != hex(self.hash.clone()) {
                return Err(self.damaged("its checksum does not match".to_owned()));
            }
            let rest = self.input.fill_buf().map_err(MaintenanceError::io(&self.path))?;
            if !rest.is_empty() {
                return Err(self.damaged("something follows its end".to_owned()));
            }
        } else {
            self.hash.update(&self.line);
        }
        Ok(line)
    }

    /// Reads a line with its end.
    fn read_line(&mut self) -> Result<(), MaintenanceError> {
        self.line.clear();
        let mut input = (&mut self.input).take(LONGEST_LINE);
        let read = input.read_until(b'\n', &mut self.line);
        read.map_err(MaintenanceError::io(&self.path))?;
        if self.line.last() != Some(&b'\n') {
            return Err(self.damaged("its end is missing".to_owned()));
        }
        Ok(())
    }

    fn damaged(&self, what: String) -> MaintenanceError {
        let path = self.path.clone();
        MaintenanceError::Damaged { path, what }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
