//! balena's update-lock files, held while the local API's clients hold leases.
//!
//! The Supervisor checks whether such a file **exists** (whatever its owner and content, except that it removes files
//! of uid 65534 as its own leftovers), and the host's `safe_reboot` checks whether it is **flocked**. So the files are
//! created exclusively and flocked, both, for as long as there is a lease.
//!
//! A killed agent leaves the files without the flock: updates stay blocked, which is the safe side, until the next
//! start adopts the files. Foreign files are never changed, nor is a file that replaced one of this agent's (a forced
//! update deletes lock files).

mod files;
#[cfg(test)]
mod tests;

use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::LockDir;
use files::{Claim, Held, Inspected, SUPERVISOR_UID};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Receiver, Sender};

/// The current name and the earlier one; the Supervisor and the host check both.
const NAMES: [&str; 2] = ["updates.lock", "resin-updates.lock"];

/// The update-lock files of one directory: the port for [`Effect::HoldLockFiles`] and
/// [`Effect::ReleaseLockFiles`].
#[derive(Debug)]
pub struct LockFiles {
    dir: PathBuf,
    uid: u32,
    held: BTreeMap<&'static str, Held>,
}

/// A lock file of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignLock {
    pub path: PathBuf,
    /// Created by the Supervisor, which removes it after its work.
    pub transient: bool,
}

/// The lock directory, for the host poller. Without the Supervisor's own files, which exist during every update.
pub fn look(dir: &Path) -> LockDir {
    let own = NAMES
        .iter()
        .filter(|name| matches!(files::inspect(&dir.join(name)), Inspected::Own(_)));
    LockDir {
        own: u8::try_from(own.count()).unwrap_or(u8::MAX),
        foreign: foreign(dir)
            .into_iter()
            .filter(|lock| !lock.transient)
            .map(|lock| lock.path.to_string_lossy().into_owned())
            .collect(),
        problem: not_writable(dir),
    }
}

/// Why this agent cannot make files in a directory that exists.
///
/// The Supervisor opens the lock directories to everybody (mode 1777) when it applies something that changes containers;
/// after the device's next start the engine makes them anew for root alone (observed: S10r).
fn not_writable(dir: &Path) -> Option<String> {
    let found = std::fs::metadata(dir).ok().filter(std::fs::Metadata::is_dir)?;
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if rustix::fs::accessat(rustix::fs::CWD, dir, access, rustix::fs::AtFlags::EACCESS).is_ok() {
        return None;
    }
    let uid = rustix::process::geteuid().as_raw();
    Some(denial(dir, found.uid(), found.mode() & 0o7777, uid))
}

/// Why `uid` cannot write a directory of this owner and mode.
fn denial(dir: &Path, owner: u32, mode: u32, uid: u32) -> String {
    let dir = dir.display();
    if owner != uid && mode & 0o002 == 0 {
        return format!(
            "{dir} belongs to user {owner} alone (mode {mode:o}) and this agent runs as user {uid}: so the engine makes it \
             at the device's start, and the Supervisor opens it with the next update that changes containers; run the \
             agent as user {owner} to hold locks before that too"
        );
    }
    format!("{dir} cannot be written by user {uid} (mode {mode:o}): is it mounted read-only?")
}

/// The foreign lock files in `dir`; none if the directory does not exist.
pub fn foreign(dir: &Path) -> Vec<ForeignLock> {
    NAMES
        .iter()
        .map(|name| dir.join(name))
        .filter_map(|path| match files::inspect(&path) {
            Inspected::Foreign { transient } => Some(ForeignLock { path, transient }),
            Inspected::Nothing | Inspected::Own(_) => None,
        })
        .collect()
}

impl LockFiles {
    /// `dir` is the directory that the Supervisor mounts into the container (`BASEOS_LOCK_DIR`); it is not accessed
    /// yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            uid: rustix::process::geteuid().as_raw(),
            held: BTreeMap::new(),
        }
    }

    /// Performs effects until the mailbox closes. The files then stay, because leases outlive the agent's process;
    /// the next process adopts them.
    ///
    /// Files of an earlier process are adopted at once, to be flocked again as early as possible; the machine's first
    /// `HoldLockFiles` or `ReleaseLockFiles` decides about them.
    pub async fn serve(mut self, mut mailbox: Receiver<Effect>, events: Sender<Event>) {
        self.adopt();
        while let Some(effect) = mailbox.recv().await {
            let Some((op, problem)) = self.perform(&effect) else {
                tracing::error!(
                    effect = effect.name(),
                    "bug: the lock-file port received an effect of another port"
                );
                continue;
            };
            if events
                .send(Event::LockFilesSettled { op, problem })
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn perform(&mut self, effect: &Effect) -> Option<(OpId, Option<String>)> {
        match effect {
            Effect::HoldLockFiles { op, holders } => Some((*op, self.hold(holders))),
            Effect::ReleaseLockFiles { op } => Some((*op, self.release())),
            _ => None,
        }
    }

    /// Flocks the files that an earlier process of this agent has left.
    pub fn adopt(&mut self) {
        if self.uid == SUPERVISOR_UID {
            return;
        }
        for name in NAMES {
            if let Inspected::Own(file) = files::inspect(&self.dir.join(name))
                && let Claim::Taken(held) = files::claim(file, &self.dir.join(name))
            {
                tracing::info!(name, "adopted an update lock of an earlier run");
                self.held.insert(name, held);
            }
        }
    }

    /// Creates and flocks both files, or keeps those that are held already. Returns the problems; a file without one
    /// is held nevertheless.
    pub fn hold(&mut self, holders: &[String]) -> Option<String> {
        if self.uid == SUPERVISOR_UID {
            return Some(format!(
                "baserunner runs as uid {SUPERVISOR_UID}: the Supervisor would remove its update locks as its own \
                 leftovers; run it as another user"
            ));
        }
        if !self.dir.is_dir() {
            return Some(format!(
                "there is no update-lock directory {}: the Supervisor mounts one into every container it starts; \
                 a container started otherwise needs the volume \
                 /tmp/balena-supervisor/services/<app id>/<service>:{} (or BASEOS_LOCK_DIR set)",
                self.dir.display(),
                self.dir.display()
            ));
        }
        self.open_own_dir();
        let content = files::tag(holders);
        let mut problems: Vec<String> = NAMES
            .into_iter()
            .filter_map(|name| self.hold_one(name, &content).err())
            .collect();
        problems.dedup();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// A directory of this agent's own user that has lost its mode is opened again, as the Supervisor does.
    fn open_own_dir(&self) {
        let own = std::fs::metadata(&self.dir).is_ok_and(|found| found.uid() == self.uid);
        if own && not_writable(&self.dir).is_some() {
            let opened = std::fs::set_permissions(&self.dir, std::fs::Permissions::from_mode(0o1777));
            tracing::info!(dir = %self.dir.display(), ?opened, "opened the update-lock directory");
        }
    }

    fn hold_one(&mut self, name: &'static str, content: &[u8]) -> Result<(), String> {
        let path = self.dir.join(name);
        let cannot = |error: std::io::Error| match not_writable(&self.dir) {
            Some(problem) if error.kind() == ErrorKind::PermissionDenied => problem,
            _ => format!("cannot hold {}: {error}", path.display()),
        };
        if let Some(held) = self.held.remove(name) {
            if held.is_at(&path) {
                held.write(content).map_err(cannot)?;
                self.held.insert(name, held);
                return Ok(());
            }
            tracing::warn!(
                name,
                "an update lock was removed by another program, e.g. by a forced update"
            );
        }
        // A file may appear or vanish between two calls; then the next attempt finds the new state.
        for _ in 0..3 {
            match files::create(&self.dir, &path, content) {
                Ok(held) => {
                    self.held.insert(name, held);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot(error)),
            }
            match files::inspect(&path) {
                Inspected::Nothing => {}
                Inspected::Foreign { transient: true } => {
                    return Err(format!(
                        "{} is held by the Supervisor during its work",
                        path.display()
                    ));
                }
                Inspected::Foreign { transient: false } => {
                    return Err(format!(
                        "{} was created by another program and is not touched",
                        path.display()
                    ));
                }
                Inspected::Own(file) => match files::claim(file, &path) {
                    Claim::Taken(held) => {
                        held.write(content).map_err(cannot)?;
                        self.held.insert(name, held);
                        return Ok(());
                    }
                    Claim::Busy => return Err(format!("{} is held by another baserunner", path.display())),
                    Claim::Gone => {}
                },
            }
        }
        Err(format!(
            "{} keeps appearing and vanishing: another program uses it",
            path.display()
        ))
    }

    /// Removes this agent's files, held or left by an earlier run. Returns the problems; a file that is gone already
    /// is none.
    pub fn release(&mut self) -> Option<String> {
        self.adopt();
        let held = std::mem::take(&mut self.held);
        let problems: Vec<String> = held
            .into_iter()
            .filter_map(|(name, held)| {
                let path = self.dir.join(name);
                held.remove(&path)
                    .err()
                    .map(|error| format!("cannot remove {}: {error}", path.display()))
            })
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}
