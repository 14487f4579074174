//! Replaces small files in one step, so that a reader and a power cut find the old or the new one, whole.

use crate::failpoint;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

/// Only the owner: such files may hold secrets of services.
const PRIVATE: u32 = 0o600;

/// Makes `bytes` the content of `dir/name`; on disk, fsynced, when this returns `Ok`. Only one process may write it.
///
/// # Errors
/// The first step that failed; the old content is still there then, unless only the last sync failed.
pub fn replace(dir: &Path, name: &'static str, bytes: &[u8]) -> io::Result<()> {
    let (path, temp) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = write(dir, &temp, bytes).and_then(|()| {
        failpoint::hit_with("file.before_rename", name);
        fs::rename(&temp, &path)
    });
    if let Err(error) = written {
        // What is left of it is overwritten by the next call.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    failpoint::hit_with("file.after_rename", name);
    File::open(dir)?.sync_all()
}

/// Far more than any of these files has; a larger one is damaged and is not read into memory.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The content of such a file.
///
/// # Errors
/// `InvalidData` for what is no file, as a FIFO, which would hold up its reader until somebody writes to it, and for one
/// that is far too large; else the step that failed.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking.cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(damaged("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(damaged("it is far too large"));
    }
    Ok(bytes)
}

/// What root writes stays the directory's owner's and group's: an agent of another release, and the guard, may run as
/// another user.
pub fn leave_to_owner_of(dir: &Path, file: &File) {
    let change = || {
        let owner = fs::metadata(dir)?;
        fchown(file, Some(owner.uid()), Some(owner.gid()))
    };
    if rustix::process::geteuid().is_root()
        && let Err(error) = change()
    {
        tracing::warn!(%error, dir = %dir.display(), "a file cannot be left to the owner of its directory");
    }
}

/// As [`leave_to_owner_of`], of a file that cannot be opened: a socket.
pub fn leave_socket_to_owner_of(dir: &Path, socket: &Path) {
    let change = || {
        let owner = fs::metadata(dir)?;
        lchown(socket, Some(owner.uid()), Some(owner.gid()))
    };
    if rustix::process::geteuid().is_root()
        && let Err(error) = change()
    {
        tracing::warn!(%error, dir = %dir.display(), "a socket cannot be left to the owner of its directory");
    }
}

fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE)
        .open(path)?;
    leave_to_owner_of(dir, &file);
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_private_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("name.new"), "of an interrupted write").unwrap();
        for content in ["first", "2nd"] {
            replace(dir.path(), "name", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("name")).unwrap(), content);
        }
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["name"]);
        let mode = fs::metadata(dir.path().join("name"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_says_so_and_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), "name", b"old").unwrap();
        fs::create_dir(dir.path().join("name.new")).unwrap();
        replace(dir.path(), "name", b"new").unwrap_err();
        assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"old");
    }
}
