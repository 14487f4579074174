//! The steps that put bytes on the disk so that a power cut between any two of them loses nothing.

use crate::failpoint;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The newest document.
pub(super) const CURRENT: &str = "state.json";
/// The one before it.
pub(super) const PREVIOUS: &str = "state.json.previous";
/// The newest document while it is written.
pub(super) const TEMP: &str = "state.json.new";
/// The second name of the newest document, on its way to become the previous one.
pub(super) const TEMP_PREVIOUS: &str = "state.json.previous.new";
/// Space kept for the moment when there is none.
pub(super) const RESERVE: &str = "reserve";
/// How much of it, bytes.
pub(super) const RESERVE_BYTES: u64 = 64 * 1024;
const PRIVATE: u32 = 0o600;

/// A step that can fail; tests make it fail.
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

/// A directory that holds a state file, and how to write into it.
pub(super) struct Disk {
    dir: PathBuf,
    /// Whether what is called [`CURRENT`] may become the previous document. Not so when it is damaged: it would
    /// take the place of the one good copy.
    rotate: bool,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl Disk {
    /// `current_is_good`: whether the file called [`CURRENT`] was read and is a document.
    pub(super) fn new(dir: PathBuf, current_is_good: bool) -> Self {
        Self {
            dir,
            rotate: current_is_good,
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
        reason = "tests make a step fail here"
    )]
    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&mut self, step: Step) -> io::Result<()> {
        self.fault.as_mut().map_or(Ok(()), |fault| fault(step))
    }

    /// Removes what an earlier run left behind in the middle of a write.
    pub(super) fn tidy(&self) {
        for name in [TEMP, TEMP_PREVIOUS] {
            remove(&self.at(name));
        }
    }

    /// Makes `bytes` the newest document. When this returns, they are on the disk; when it fails, an older
    /// document still is.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let replaced = match self.replace_once(bytes) {
            Err(error) if is_full(&error) && self.spend_reserve() => {
                tracing::warn!(dir = %self.dir.display(), "the disk is full: the reserve was given up to write the state");
                self.replace_once(bytes)
            }
            other => other,
        };
        self.keep_reserve();
        replaced
    }

    fn replace_once(&mut self, bytes: &[u8]) -> io::Result<()> {
        let temp = self.at(TEMP);
        failpoint::hit("store.before_temp");
        if let Err(error) = self
            .write_temp(&temp, bytes)
            .and_then(|()| self.put_in_place(&temp))
        {
            remove(&temp);
            remove(&self.at(TEMP_PREVIOUS));
            return Err(error);
        }
        failpoint::hit("store.after_rename");
        self.rotate = true;
        self.step(Step::FsyncDir)?;
        File::open(&self.dir)?.sync_all()
    }

    fn write_temp(&mut self, temp: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Create)?;
        let mut file = create_new(temp)?;
        self.step(Step::Write)?;
        file.write_all(bytes)?;
        self.step(Step::Fsync)?;
        file.sync_all()?;
        failpoint::hit("store.after_temp_fsync");
        Ok(())
    }

    fn put_in_place(&mut self, temp: &Path) -> io::Result<()> {
        if self.rotate {
            self.keep_previous()?;
        }
        failpoint::hit("store.before_rename");
        self.step(Step::Rename)?;
        fs::rename(temp, self.at(CURRENT))
    }

    /// Gives the newest document a second name and renames that over the previous one, so that at every instant
    /// both names stand for a whole document.
    fn keep_previous(&mut self) -> io::Result<()> {
        let (current, aside) = (self.at(CURRENT), self.at(TEMP_PREVIOUS));
        remove(&aside);
        let linked = self
            .step(Step::Link)
            .and_then(|()| fs::hard_link(&current, &aside));
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if is_full(&error) => return Err(error),
            // Not every file system has hard links; a copy takes longer and does the same.
            Err(_) => copy(&current, &aside)?,
        }
        self.step(Step::Rotate)?;
        fs::rename(&aside, self.at(PREVIOUS))?;
        // When both names already stand for one file (a crash came between the two renames), renaming does
        // nothing at all, and says so by success.
        remove(&aside);
        Ok(())
    }

    /// Gives the reserve back to the file system. Whether there was one.
    fn spend_reserve(&self) -> bool {
        fs::remove_file(self.at(RESERVE)).is_ok()
    }

    /// Fills the reserve up. When there is no space for all of it, it keeps what it got: whoever filled the disk
    /// would take that too, and the next save needs it.
    pub(super) fn keep_reserve(&mut self) {
        let path = self.at(RESERVE);
        let there = fs::metadata(&path).map_or(0, |found| found.len());
        if there < RESERVE_BYTES
            && let Err(error) = self
                .step(Step::Reserve)
                .and_then(|()| fill(&path, RESERVE_BYTES - there))
        {
            tracing::debug!(%error, "the reserve is not whole: a full disk may stop the state from being written");
        }
    }
}

/// Whether an error says that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = create_new(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()
}

/// Appends so many bytes. They are really written: space that is only promised is not everywhere kept. They need
/// not be synced: after a power cut they are written again.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE)
        .open(path)?;
    io::copy(&mut io::repeat(0).take(bytes), &mut file).map(|_| ())
}

/// Removes a file that may not be there.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove a leftover");
    }
}
