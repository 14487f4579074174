//! The lock that lets one agent use a state directory.

use crate::durable_file::{self, is_damage, leave_to_owner_of};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub(super) const NAME: &str = "lock";

/// Holds the lock until it is dropped. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock(File);

impl DirLock {
    /// # Errors
    /// `WouldBlock`: another process has it.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        clear_way(dir, &path)?;
        let not_followed = OFlags::NOFOLLOW.bits().cast_signed();
        let file = match OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(not_followed)
            .open(&path)
        {
            // On a read-only file system the agent starts all the same, to report the problem.
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => OpenOptions::new()
                .read(true)
                .custom_flags(not_followed)
                .open(&path)
                .or_else(|_| File::open(dir))?,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                let problem = "it is a symbolic link, which is not followed: remove it";
                return Err(io::Error::new(ErrorKind::InvalidData, problem));
            }
            other => other?,
        };
        leave_to_owner_of(dir, &file);
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}

impl Drop for DirLock {
    /// Closing the file does not suffice: a child that is just being started has a copy of it, which keeps the lock.
    fn drop(&mut self) {
        // If that fails, closing the file is what is left.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Puts what would hold the agent up for ever (a pipe), fail every start, or lead elsewhere (a link), out of the way of the
/// lock file. Whoever does so holds a lock on the directory, so that nobody sets the file of another one aside.
fn clear_way(dir: &Path, path: &Path) -> io::Result<()> {
    let is_in_the_way = || match fs::symlink_metadata(path) {
        Ok(found) => !found.is_file(),
        Err(error) => is_damage(&error),
    };
    if !is_in_the_way() {
        return Ok(());
    }
    let alone = File::open(dir)?;
    flock(&alone, FlockOperation::NonBlockingLockExclusive)?;
    if is_in_the_way() {
        durable_file::set_aside(dir, NAME)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_free_once_dropped_whoever_has_inherited_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        assert_eq!(
            DirLock::take(dir.path()).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let inherited = lock.0.try_clone().unwrap();
        drop(lock);
        DirLock::take(dir.path()).expect("nobody uses the directory any more");
        drop(inherited);
    }
}
