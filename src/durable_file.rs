//! Replaces small files in one step, so that a reader and a power cut find the old or the new one, whole.

use crate::failpoint;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

/// Only the owner: such files may hold secrets of services.
const PRIVATE: u32 = 0o600;

/// Makes `bytes` the content of `dir/name`; on disk, fsynced, when this returns `Ok`. Only one process may write it.
///
/// A directory in its place is set aside.
///
/// # Errors
/// `InvalidData` for what [`read`] would not read again; else the first step that failed. The old content is still there
/// then, unless only the last sync failed.
pub fn replace(dir: &Path, name: &'static str, bytes: &[u8]) -> io::Result<()> {
    check_size(bytes)?;
    let new = format!("{name}.new");
    let (path, temp) = (dir.join(name), dir.join(&new));
    let written = write(dir, &new, bytes).and_then(|()| {
        failpoint::hit_with("file.before_rename", name);
        match fs::rename(&temp, &path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                set_aside(dir, name)?;
                fs::rename(&temp, &path)
            }
            other => other,
        }
    });
    if let Err(error) = written {
        // What is left of it is overwritten by the next call.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    failpoint::hit_with("file.after_rename", name);
    File::open(dir)?.sync_all()
}

/// Gives what is in the place of a file a name that is free: `name.damaged.1`.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(dir: &Path, name: &str) -> io::Result<()> {
    let path = dir.join(name);
    let aside = (1..=99)
        .map(|number| dir.join(format!("{name}.damaged.{number}")))
        .find(|aside| aside.symlink_metadata().is_err())
        .ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(&path, &aside)?;
    tracing::warn!(path = %path.display(), aside = %aside.display(), "what was no file is set aside");
    Ok(())
}

/// Far more than any of these files has; a larger one is damaged and is not read into memory.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// # Errors
/// `InvalidData` for more than [`read`] reads.
pub fn check_size(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is far too large"));
    }
    Ok(())
}

/// The content of such a file.
///
/// # Errors
/// `InvalidData` for what is no file, as a FIFO, which would hold up its reader until somebody writes to it, and for one
/// that is far too large; else the step that failed.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking.cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    check_size(&bytes)?;
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

fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(dir, name)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new file for the directory's owner alone. What has its name is removed: what is left of an interrupted write, a pipe that would
/// hold up its writer, a link to elsewhere. A directory is set aside.
///
/// # Errors
/// When it cannot be created.
pub fn create(dir: &Path, name: &str) -> io::Result<File> {
    let path = dir.join(name);
    let create_new = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(&path)
    };
    let file = match create_new() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => set_aside(dir, name)?,
                other => other?,
            }
            create_new()?
        }
        other => other?,
    };
    leave_to_owner_of(dir, &file);
    Ok(file)
}

/// Whether an error says that what is there is no file that could be read: a read error of the medium; a link to itself or
/// through a file; a socket, or a device without a driver.
pub fn is_damage(error: &io::Error) -> bool {
    const DAMAGE: [Errno; 6] = [
        Errno::IO,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::NODEV,
        Errno::NOTDIR,
        Errno::NXIO,
    ];
    DAMAGE
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
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
        for number in 1..=99 {
            fs::create_dir(dir.path().join(format!("name.new.damaged.{number}"))).unwrap();
        }
        fs::create_dir(dir.path().join("name.new")).unwrap();
        replace(dir.path(), "name", b"new").unwrap_err();
        assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"old");
    }

    #[test]
    fn what_is_in_the_way_of_the_new_file_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let temp = dir.path().join("name.new");
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        let pipe = || rustix::fs::mkfifoat(rustix::fs::CWD, &temp, rustix::fs::Mode::RWXU).unwrap();
        let link = || std::os::unix::fs::symlink(&elsewhere, &temp).unwrap();
        let directory = || fs::create_dir(&temp).unwrap();
        let in_the_way: [(&str, &dyn Fn()); 3] =
            [("pipe", &pipe), ("link", &link), ("directory", &directory)];
        for (what, put) in in_the_way {
            put();
            replace(dir.path(), "name", what.as_bytes()).unwrap();
            assert_eq!(read(&dir.path().join("name")).unwrap(), what.as_bytes());
        }
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "untouched");
        assert!(dir.path().join("name.new.damaged.1").is_dir());
    }

    #[test]
    fn what_would_be_too_large_to_read_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), "name", b"old").unwrap();
        let most = MAX_BYTES;
        replace(dir.path(), "name", &vec![b'x'; most + 1]).unwrap_err();
        assert_eq!(read(&dir.path().join("name")).unwrap(), b"old");
        replace(dir.path(), "name", &vec![b'x'; most]).unwrap();
        assert_eq!(read(&dir.path().join("name")).unwrap().len(), most);
    }

    #[test]
    fn a_directory_in_its_place_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("name")).unwrap();
        fs::write(dir.path().join("name/content"), "kept").unwrap();
        replace(dir.path(), "name", b"new").unwrap();
        assert_eq!(read(&dir.path().join("name")).unwrap(), b"new");
        let kept = fs::read(dir.path().join("name.damaged.1/content")).unwrap();
        assert_eq!(kept, b"kept");
    }
}
