//! Writes files in steps such that a power cut between any two of them loses no document.

use crate::durable_file::{self, leave_to_owner_of};
use crate::failpoint;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The newest document.
pub(super) const CURRENT: &str = "state.json";
/// The one before it.
pub(super) const PREVIOUS: &str = "state.json.previous";
/// The new document while it is written.
pub(super) const TEMP: &str = "state.json.new";
/// A second name of the newest document, before it becomes the previous one.
pub(super) const TEMP_PREVIOUS: &str = "state.json.previous.new";
/// A second name of a document that a newer agent wrote, until Cloudly has accepted a token that was read from it.
pub(super) const NEWER: &str = "state.json.newer";
/// A file that is deleted to make space when the disk is full.
pub(super) const RESERVE: &str = "reserve";
/// Its size, bytes.
pub(super) const RESERVE_BYTES: u64 = 64 * 1024;
const PRIVATE: u32 = 0o600;

/// The steps that can fail; tests inject errors before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    Fsync,
    Link,
    Rotate,
    Rename,
    FsyncDir,
    Reserve,
}

#[cfg(test)]
pub(super) type Fault = Box<dyn FnMut(Step) -> io::Result<()> + Send>;

/// The directory of the state file.
pub(super) struct Disk {
    dir: PathBuf,
    /// Whether [`CURRENT`] may replace [`PREVIOUS`]. Not if it is damaged: [`PREVIOUS`] is the only valid copy then.
    current_is_valid: bool,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl Disk {
    /// `current_is_valid`: whether [`CURRENT`] was read and is a document.
    pub(super) fn new(dir: PathBuf, current_is_valid: bool) -> Self {
        Self {
            dir,
            current_is_valid,
            #[cfg(test)]
            fault: None,
        }
    }

    /// The path of the newest document.
    pub(super) fn current(&self) -> PathBuf {
        self.at(CURRENT)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "tests inject errors here"
    )]
    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&mut self, step: Step) -> io::Result<()> {
        self.fault.as_mut().map_or(Ok(()), |fault| fault(step))
    }

    /// Keeps the newest document, which a newer agent wrote, beside those that replace it.
    pub(super) fn keep_newer(&self) {
        let kept = self.at(NEWER);
        remove(&kept);
        if let Err(error) = fs::hard_link(self.current(), &kept) {
            tracing::warn!(%error, path = %kept.display(), "the newer agent's state file is not kept");
        }
    }

    pub(super) fn has_newer(&self) -> bool {
        self.at(NEWER).exists()
    }

    pub(super) fn forget_newer(&self) {
        remove(&self.at(NEWER));
    }

    /// Removes the temporary files of an interrupted write.
    pub(super) fn remove_leftovers(&self) {
        for name in [TEMP, TEMP_PREVIOUS] {
            remove(&self.at(name));
        }
    }

    /// Makes `bytes` the newest document, on disk when this returns `Ok`. After an error a complete document, in general
    /// the previous one, is on disk.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let replaced = match self.replace_once(bytes) {
            Err(error) if is_full(&error) && self.delete_reserve() => {
                let dir = self.dir.display();
                tracing::warn!(%dir, "the disk is full: the reserve was deleted to write the state");
                self.replace_once(bytes)
            }
            other => other,
        };
        self.fill_reserve();
        replaced
    }

    fn replace_once(&mut self, bytes: &[u8]) -> io::Result<()> {
        let temp = self.at(TEMP);
        failpoint::hit("store.before_temp");
        if let Err(error) = self
            .write_temp(bytes)
            .and_then(|()| self.rename_into_place(&temp))
        {
            remove(&temp);
            remove(&self.at(TEMP_PREVIOUS));
            return Err(error);
        }
        failpoint::hit("store.after_rename");
        self.current_is_valid = true;
        self.step(Step::FsyncDir)?;
        File::open(&self.dir)?.sync_all()
    }

    fn write_temp(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Create)?;
        let mut file = durable_file::create(&self.dir, TEMP)?;
        self.step(Step::Write)?;
        file.write_all(bytes)?;
        self.step(Step::Fsync)?;
        file.sync_all()?;
        failpoint::hit("store.after_temp_fsync");
        Ok(())
    }

    fn rename_into_place(&mut self, temp: &Path) -> io::Result<()> {
        if self.current_is_valid {
            self.keep_previous()?;
        }
        failpoint::hit("store.before_rename");
        self.step(Step::Rename)?;
        fs::rename(temp, self.at(CURRENT))
    }

    /// Gives the newest document a second name and renames that over the previous one, so that at every instant both
    /// files are complete documents.
    fn keep_previous(&mut self) -> io::Result<()> {
        let (current, second) = (self.at(CURRENT), self.at(TEMP_PREVIOUS));
        remove(&second);
        let linked = self
            .step(Step::Link)
            .and_then(|()| fs::hard_link(&current, &second));
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if is_full(&error) => return Err(error),
            // Not every file system has hard links; a copy has the same effect.
            Err(_) => copy(&self.dir, &current, TEMP_PREVIOUS)?,
        }
        self.step(Step::Rotate)?;
        fs::rename(&second, self.at(PREVIOUS))?;
        // When both names already are the same file (after a crash between the two renames), the rename succeeds
        // without removing the second name.
        remove(&second);
        Ok(())
    }

    /// Deletes the reserve; false if there was none.
    fn delete_reserve(&self) -> bool {
        fs::remove_file(self.at(RESERVE)).is_ok()
    }

    /// Fills the reserve up. When the space does not suffice, it keeps what it got, because the next save needs it and
    /// other programs would use it up.
    pub(super) fn fill_reserve(&mut self) {
        let path = self.at(RESERVE);
        let size = fs::metadata(&path).map_or(0, |found| found.len());
        if size < RESERVE_BYTES
            && let Err(error) = self
                .step(Step::Reserve)
                .and_then(|()| append_zeros(&self.dir, &path, RESERVE_BYTES - size))
        {
            tracing::debug!(%error, "the reserve is incomplete: on a full disk the state may not be written");
        }
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn copy(dir: &Path, from: &Path, to: &str) -> io::Result<()> {
    let mut file = durable_file::create(dir, to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()
}

/// Appends zeros. They are written, since not every file system guarantees preallocated space; and not synced, since
/// the next start writes them again.
fn append_zeros(dir: &Path, path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE)
        .open(path)?;
    leave_to_owner_of(dir, &file);
    io::copy(&mut io::repeat(0).take(bytes), &mut file).map(|_| ())
}

/// Removes a file that may not exist.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove a leftover");
    }
}
