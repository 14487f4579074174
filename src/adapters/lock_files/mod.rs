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
use files::{Claim, Held, Inspected, SUPERVISOR_UID};
use std::collections::BTreeMap;
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

/// The paths of foreign lock files that block updates, for the host poller. Without the Supervisor's own, which exist
/// during every update.
pub fn blocking(dir: &Path) -> Vec<String> {
    foreign(dir)
        .into_iter()
        .filter(|lock| !lock.transient)
        .map(|lock| lock.path.to_string_lossy().into_owned())
        .collect()
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
        let content = files::tag(holders);
        let problems: Vec<String> = NAMES
            .into_iter()
            .filter_map(|name| self.hold_one(name, &content).err())
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn hold_one(&mut self, name: &'static str, content: &[u8]) -> Result<(), String> {
        let path = self.dir.join(name);
        let cannot = |error: std::io::Error| format!("cannot hold {}: {error}", path.display());
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
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
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
