//! Single lock files: inspecting, creating, claiming and removing them without ever changing a foreign one.

pub(super) use baseos_interfaces::rules::SUPERVISOR_UID;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt, OpenOptionsExt as _};
use std::path::Path;

/// The beginning of every lock file of this agent.
const TAG_START: &[u8] = b"{\"owner\":\"baserunner\",";
/// The name under which a lock file is written before it is linked to its own.
const TEMP: &str = ".baserunner-lock.new";
/// World-readable, so that the holders can be looked up.
const MODE: u32 = 0o644;
const HOLDERS_MAX: usize = 32;

/// A lock file of this agent; it is flocked for as long as this value exists.
#[derive(Debug)]
pub(super) struct Held(File);

/// What was found at a lock file's path.
pub(super) enum Inspected {
    Nothing,
    /// Tagged by a baserunner, which may or may not be running.
    Own(File),
    Foreign {
        /// Created by the Supervisor, which removes it after its work.
        transient: bool,
    },
}

/// The result of flocking a file with this agent's tag.
pub(super) enum Claim {
    Taken(Held),
    /// Another process has it flocked.
    Busy,
    /// The path names another file by now.
    Gone,
}

/// The content of a lock file, one line.
pub(super) fn tag(holders: &[String]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tag<'a> {
        owner: &'static str,
        holders: &'a [String],
    }
    let holders = holders.get(..HOLDERS_MAX).unwrap_or(holders);
    // A list of strings can always be written as JSON; otherwise the tag alone suffices.
    let mut line = serde_json::to_vec(&Tag {
        owner: "baserunner",
        holders,
    })
    .unwrap_or_else(|_| [TAG_START, b"\"holders\":[]}"].concat());
    line.push(b'\n');
    line
}

/// Inspects `path` without changing the file or waiting for it.
pub(super) fn inspect(path: &Path) -> Inspected {
    // Existence locks, so a directory, a dangling link or a pipe of that name is a lock too.
    let Ok(found) = fs::symlink_metadata(path) else {
        return Inspected::Nothing;
    };
    let foreign = Inspected::Foreign {
        transient: found.uid() == SUPERVISOR_UID,
    };
    if !found.is_file() || found.uid() == SUPERVISOR_UID {
        return foreign;
    }
    // The file may have been replaced since: the flags avoid following a link and waiting for a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    let mut head = [0; TAG_START.len()];
    match opened {
        Ok(file) if file.read_exact_at(&mut head, 0).is_ok() && head == TAG_START => Inspected::Own(file),
        Err(error) if error.kind() == ErrorKind::NotFound => Inspected::Nothing,
        _ => foreign,
    }
}

/// Flocks a file with this agent's tag, unless another process has it flocked.
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

/// Creates a lock file that does not exist yet.
///
/// It is written and flocked under another name first and then linked, which is as exclusive as `O_EXCL`. So it never
/// exists without this agent's tag, and a killed agent leaves no file that looks foreign.
///
/// # Errors
/// `AlreadyExists` when the file exists.
pub(super) fn create(dir: &Path, path: &Path, content: &[u8]) -> io::Result<Held> {
    let temp = dir.join(TEMP);
    remove_if_exists(&temp)?;
    let made = create_tagged(&temp, content).and_then(|held| fs::hard_link(&temp, path).map(|()| held));
    let removed = remove_if_exists(&temp);
    match made {
        Ok(held) => removed.map(|()| held),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Without hard links the file is briefly there without its tag, but creating it is still exclusive.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            create_tagged(path, content).inspect_err(|failed| {
                tracing::debug!(%error, %failed, "cannot link or create a lock file");
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
            remove_if_exists(path)?;
            Err(error)
        }
    }
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Held {
    /// Whether the path still names this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        match (self.0.metadata(), fs::symlink_metadata(path)) {
            (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }

    /// Replaces the content. The tag stays readable throughout: the line is overwritten, then the rest truncated.
    pub(super) fn write(&self, content: &[u8]) -> io::Result<()> {
        self.0.write_all_at(content, 0)?;
        self.0.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))
    }

    /// Unlinks the file if the path still names it, then closes it.
    pub(super) fn remove(self, path: &Path) -> io::Result<()> {
        if self.is_at(path) {
            remove_if_exists(path)
        } else {
            Ok(())
        }
    }
}
