//! One lock file: whose it is, and how to take it and let it go without ever touching somebody else's.

use super::SUPERVISOR_UID;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt, OpenOptionsExt as _};
use std::path::Path;

/// How every lock file of this agent begins.
const OURS: &[u8] = b"{\"owner\":\"baserunner\",";
/// Where a lock file is made ready before it gets its name.
const TEMP: &str = ".baserunner-lock.new";
/// Readable for everybody: whoever is blocked shall see by whom.
const MODE: u32 = 0o644;
const HOLDERS_MAX: usize = 32;

/// A lock file that is ours and flocked, as long as this lives.
#[derive(Debug)]
pub(super) struct Held(File);

/// What stands under a lock file's name.
pub(super) enum Inspected {
    Nothing,
    /// Tagged by a baserunner; whether it still lives is not known yet.
    Ours(File),
    Foreign {
        /// The Supervisor's own.
        transient: bool,
    },
}

/// What came of flocking a file that is tagged ours.
pub(super) enum Claim {
    Taken(Held),
    /// Another process has it flocked.
    Busy,
    /// Something else stands under the name by now.
    Gone,
}

/// The one line in the file.
pub(super) fn tag(holders: &[String]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tag<'a> {
        owner: &'static str,
        holders: &'a [String],
    }
    let holders = holders.get(..HOLDERS_MAX).unwrap_or(holders);
    // A list of strings always is JSON; were it not, the tag alone would do.
    let mut line = serde_json::to_vec(&Tag {
        owner: "baserunner",
        holders,
    })
    .unwrap_or_else(|_| [OURS, b"\"holders\":[]}"].concat());
    line.push(b'\n');
    line
}

/// Looks at what stands under `path` without changing or waiting for it.
pub(super) fn inspect(path: &Path) -> Inspected {
    // The name counts, so a directory, a dangling link or a pipe of that name is a lock too.
    let Ok(found) = fs::symlink_metadata(path) else {
        return Inspected::Nothing;
    };
    let foreign = Inspected::Foreign {
        transient: found.uid() == SUPERVISOR_UID,
    };
    if !found.is_file() || found.uid() == SUPERVISOR_UID {
        return foreign;
    }
    // The flags are for what may have taken the file's place since: no link is followed, no pipe waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    let mut head = [0; OURS.len()];
    match opened {
        Ok(file) if file.read_exact_at(&mut head, 0).is_ok() && head == OURS => Inspected::Ours(file),
        Err(error) if error.kind() == ErrorKind::NotFound => Inspected::Nothing,
        _ => foreign,
    }
}

/// Flocks a file that is tagged ours, unless another process has.
pub(super) fn claim(file: File, path: &Path) -> Claim {
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Claim::Busy;
    }
    let held = Held(file);
    if held.is_at(path) {
        Claim::Taken(held)
    } else {
        Claim::Gone
    }
}

/// Makes a lock file that does not exist yet.
///
/// It is written and flocked under another name first and then linked, which is as exclusive as `O_EXCL`: so
/// there is no instant in which it stands there without our tag, and a kill leaves nothing nobody can tell apart
/// from somebody else's lock.
///
/// # Errors
/// `AlreadyExists` when there is one.
pub(super) fn create(dir: &Path, path: &Path, content: &[u8]) -> io::Result<Held> {
    let temp = dir.join(TEMP);
    remove_if_there(&temp)?;
    let made = create_tagged(&temp, content).and_then(|held| fs::hard_link(&temp, path).map(|()| held));
    let tidied = remove_if_there(&temp);
    match made {
        Ok(held) => tidied.map(|()| held),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // No hard links on this file system: a little less exact, and still exclusive.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            create_tagged(path, content).inspect_err(|failed| {
                tracing::debug!(%error, %failed, "neither a link nor a new file");
            })
        }
        Err(error) => Err(error),
    }
}

fn create_tagged(path: &Path, content: &[u8]) -> io::Result<Held> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    let written = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(content));
    match written {
        Ok(()) => Ok(Held(file)),
        Err(error) => {
            remove_if_there(path)?;
            Err(error)
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Held {
    /// Whether the name still stands for this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        match (self.0.metadata(), fs::symlink_metadata(path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    /// Says anew who holds leases. The first line is never absent: it is overwritten, then the rest is cut off.
    pub(super) fn write(&self, content: &[u8]) -> io::Result<()> {
        self.0.write_all_at(content, 0)?;
        self.0.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))
    }

    /// Unlinks the file if the name still stands for it, then lets go of it.
    pub(super) fn remove(self, path: &Path) -> io::Result<()> {
        if self.is_at(path) {
            remove_if_there(path)
        } else {
            Ok(())
        }
    }
}
