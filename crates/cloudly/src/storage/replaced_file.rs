//! A database file that takes the place of another one.

use super::sqlite::named;
use baseos_interfaces::Timestamp;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What SQLite has beside a file. Left beside another database, it would be taken for a part of that one.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Puts `new` in the place of `path`. Returns what the file before it is called now, if there was one. It is there under
/// its own name until the new one is.
pub(super) fn replace(path: &Path, new: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    File::open(new)?.sync_all()?;
    // A link goes on leading to the database.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let kept = named(&path, &format!(".replaced-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let was_there = std::fs::metadata(&path).is_ok_and(|found| found.len() > 0);
    if was_there {
        // Not every file system has links.
        if std::fs::hard_link(&path, &kept).is_err() {
            copy_new(&path, &kept)?;
        }
    }
    for ending in BESIDE {
        match std::fs::rename(named(&path, ending), named(&kept, ending)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    std::fs::rename(new, &path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    Ok(was_there.then_some(kept))
}

fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    std::fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

/// Removes a database file and what SQLite has beside it, if they are there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let beside = BESIDE.map(|ending| named(path, ending));
    for file in std::iter::once(path).chain(beside.iter().map(PathBuf::as_path)) {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}
